//! The requests of a page that may call the sidecar.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde_json::json;

use super::{launch, launch_calling, launch_with_csp, open, prepare, run, sidecar};

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn bytes_arrive_unchanged_in_both_directions() -> Result<()> {
    let app = launch_calling().await?;
    let answered = run(
        app.page(),
        "const down = new Uint8Array(await (await sidecar.fetch('/bytes/9000001/down')).arrayBuffer());
        const up = new Uint8Array(9_000_001).map((_, at) => at * 7 + (at >> 8));
        const echoed = await sidecar.fetch('/echo', { method: 'POST', body: up });
        const back = new Uint8Array(await echoed.arrayBuffer());
        return {
            pid: await text('/pid'),
            down: isComplete(down, 9_000_001),
            method: echoed.headers.get('echoed-method'),
            back: back.length === up.length && back.every((byte, at) => byte === up[at]),
            sunk: await text('/sink', { method: 'POST', body: up }),
        };",
    )
    .await?;
    let pid = sidecar(&app)?.pid.to_string();
    assert_eq!(
        answered,
        json!({ "pid": pid, "down": true, "method": "POST", "back": true, "sunk": "9000001" })
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn large_chunks_arrive_as_events_also_without_tauris_protocol() -> Result<()> {
    for csp in ["connect-src ipc: http://ipc.localhost", "connect-src 'none'"] {
        let app = launch_with_csp("local", &["calling"], csp).await?;
        open(app.page(), "calling").await?;
        // A sidecar that is slower than the page may not fill a chunk.
        let answered = run(
            app.page(),
            "const { fromBase64 } = Uint8Array;
            let events = 0;
            Uint8Array.fromBase64 = (text) => (events++, fromBase64.call(Uint8Array, text));
            while (events === 0) {
                const down = await (await sidecar.fetch('/bytes/9000001/down')).arrayBuffer();
                if (!isComplete(new Uint8Array(down), 9_000_001)) return false;
            }
            return true;",
        )
        .await?;
        assert_eq!(answered, json!(true), "{csp}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_page_cannot_end_the_app_by_the_name_of_an_event() -> Result<()> {
    let app = launch_calling().await?;
    // A sidecar that is slower than the page may not fill a chunk.
    let answered = run(
        app.page(),
        "const { invoke } = window.__TAURI_INTERNALS__;
        for (let id = 1; ; id++) {
            const head = { id, sidecar: 'sidecar', method: 'GET', path: '/bytes/9000001/named', headers: [] };
            const json = new TextEncoder().encode(JSON.stringify(head));
            await invoke('plugin:pillion|request', new Uint8Array([0, 0, 0, json.length, ...json]));
            for (let place = 0, length = -1; length !== 0; place++) {
                length = (await invoke('plugin:pillion|read', { id, place, event: 'a\\0b' })).byteLength;
                if (length >= 512 * 1024) return text('/pid');
            }
        }",
    )
    .await?;
    assert_eq!(answered, json!(sidecar(&app)?.pid.to_string()));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_request_object_arrives_with_its_body_on_each_transport() -> Result<()> {
    for transport in ["local", "tcp"] {
        let csp = "connect-src ipc: http://ipc.localhost http://127.0.0.1:*";
        let app = launch_with_csp(transport, &["calling"], csp).await?;
        open(app.page(), "calling").await?;
        let answered = run(
            app.page(),
            "const form = new FormData();
            form.set('field', 'value');
            const request = new Request(`${sidecar.baseUrl}/echo`, { method: 'PUT', body: form });
            const body = await text(request);
            const { url } = await sidecar.ready();
            return {
                body: body.includes('name=\"field\"\\r\\n\\r\\nvalue'),
                pid: await text(new URL('/pid', url)),
                refused: await sidecar.fetch(new Request('http://localhost:1/')).catch((error) => error.name),
            };",
        )
        .await?;
        let pid = sidecar(&app)?.pid.to_string();
        let expected = json!({ "body": true, "pid": pid, "refused": "TypeError" });
        assert_eq!(answered, expected, "{transport}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_policy_without_tauris_protocol_changes_nothing() -> Result<()> {
    // Tauri then sends messages as text, and bytes as arrays of numbers.
    let app = launch_with_csp("local", &["calling"], "connect-src 'none'").await?;
    open(app.page(), "calling").await?;
    let answered = run(
        app.page(),
        "const refused = await fetch('ipc://localhost/plugin%3Apillion%7Cstatus').catch((error) => error.name);
        const down = new Uint8Array(await (await sidecar.fetch('/bytes/300001/down')).arrayBuffer());
        const echoed = await sidecar.fetch('/echo', { method: 'POST', body: down });
        await follow('/events/live')(1);
        return [refused, isComplete(down, 300_001), isComplete(new Uint8Array(await echoed.arrayBuffer()), 300_001)];",
    )
    .await?;
    assert_eq!(answered, json!(["TypeError", true, true]));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn events_arrive_one_by_one_until_the_page_stops_reading() -> Result<()> {
    let app = launch_calling().await?;
    // Each event is sent when the page has seen the one before. None can wait for the next event or for the end of the answer.
    let answered = run(
        app.page(),
        "const seen = [];
        for await (const { event, data, lastEventId } of sidecar.events('/events/live')) {
            seen.push([event, data, lastEventId]);
            if (seen.length === 4) break;
            await text(`/emit/${seen.length}`, { method: 'POST', body: `number ${seen.length}` });
        }
        return { seen, dropped: await text('/dropped/live') };",
    )
    .await?;
    let seen = json!([
        ["open", "", ""],
        ["message", "number 1", "1"],
        ["message", "number 2", "2"],
        ["message", "number 3", "3"]
    ]);
    assert_eq!(answered, json!({ "seen": seen, "dropped": "0" }));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn an_aborted_request_is_dropped_by_the_sidecar_too() -> Result<()> {
    let app = launch_calling().await?;
    let answered = run(
        app.page(),
        "const controller = new AbortController();
        const { signal } = controller;
        const unanswered = sidecar.fetch('/silence/unanswered', { signal });
        const { body } = await sidecar.fetch('/bytes/1000000000/answered', { signal });
        await text('/begun/unanswered');
        controller.abort(new Error('enough'));
        const reasons = await Promise.all([unanswered, body.getReader().read()].map((lost) => lost.catch(String)));
        await Promise.all(['unanswered', 'answered'].map((name) => text(`/dropped/${name}`)));
        return reasons;",
    )
    .await?;
    assert_eq!(answered, json!(["Error: enough", "Error: enough"]));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn an_unread_body_is_not_produced() -> Result<()> {
    let app = launch_calling().await?;
    // Bytes that the sidecar did not produce are neither in the app nor in the webview. Another body of the same length passes
    // meanwhile, which gives the sidecar enough time.
    let answered = run(
        app.page(),
        "const length = 200_000_000;
        const reader = (await sidecar.fetch(`/bytes/${length}/unread`)).body.getReader();
        const first = (await reader.read()).value;
        await (await sidecar.fetch(`/bytes/${length}/read`)).arrayBuffer();
        const made = Number(await text('/made/unread'));
        let taken = first.length;
        for (let piece; !(piece = await reader.read()).done;) {
            if (!piece.value.every((byte, at) => byte === (taken + at) % 251)) throw new Error(`wrong after ${taken}`);
            taken += piece.value.length;
        }
        return { made, taken, madeInAll: Number(await text('/made/unread')) };",
    )
    .await?;
    let made = answered["made"].as_u64().context("no number")?;
    // About five pieces of a megabyte, and the buffers of the connection.
    assert!(made < 8_000_000, "the sidecar produced {made} bytes for a reader of one piece");
    assert_eq!((&answered["taken"], &answered["madeInAll"]), (&json!(200_000_000), &json!(200_000_000)));
    Ok(())
}

/// A variable with the number of seconds that the page shall leak bodies, instead of [`LEAKS`] times.
const SECONDS: &str = "STARVATION_SECONDS";
/// How many times the page leaks 256 bodies.
const LEAKS: u32 = 4;

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn unread_bodies_neither_starve_the_page_nor_restart_the_sidecar() -> Result<()> {
    let seconds = env::var(SECONDS).ok().map(|seconds| seconds.parse()).transpose()?;
    let app = launch_calling().await?;
    let pid = sidecar(&app)?.pid.to_string();
    let (start, mut leaks) = (Instant::now(), 0);
    while seconds.map_or(leaks < LEAKS, |seconds| start.elapsed() < Duration::from_secs(seconds)) {
        // As many bodies as `pillion-server` accepts connections. The page keeps them, so that no garbage collection ends them.
        let answered = run(
            app.page(),
            "const count = 256;
            const paths = Array.from({ length: count }, (_, at) => `/bytes/1000000000/unread-${at}`);
            const answers = [];
            for (const path of paths) answers.push(await sidecar.fetch(path));
            window.unread = [...(window.unread ?? []), ...answers].slice(-2 * count);
            const pids = [];
            for (let at = 0; at < 10; at += 1) pids.push(await text('/pid'));
            return { statuses: [...new Set(answers.map(({ status }) => status))], pids: [...new Set(pids)] };",
        )
        .await?;
        assert_eq!(answered, json!({ "statuses": [200], "pids": [pid] }), "{leaks}");
        leaks += 1;
    }
    eprintln!("leaked 256 bodies {leaks} times");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn after_a_crash_requests_are_answered_and_events_continue() -> Result<()> {
    let app = launch_calling().await?;
    let page = app.page();
    let first = run(
        page,
        "window.events = follow('/events/live');
        await events(1);
        await text('/emit/one', { method: 'POST', body: 'before' });
        await events(2);
        return text('/pid');",
    )
    .await?;
    sidecar(&app)?.signal(Signal::KILL)?;
    let answered = run(
        page,
        "const pid = await text('/pid');
        await events(3);
        await text('/emit/two', { method: 'POST', body: 'after' });
        return { pid, seen: await events(4) };",
    )
    .await?;
    assert_ne!(answered["pid"], first);
    assert_eq!(answered["pid"], sidecar(&app)?.pid.to_string());
    let seen = json!([["open", ""], ["message", "before"], ["open", "one"], ["message", "after"]]);
    assert_eq!(answered["seen"], seen, "the second stream resumes after the last event of the first");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn every_window_recovers_after_a_crash() -> Result<()> {
    let windows = ["calling", "calling-too"];
    for transport in ["tcp", "local"] {
        let policy = "connect-src ipc: http://ipc.localhost http://127.0.0.1:*";
        let app = launch_with_csp(transport, &windows, policy).await?;
        let page = app.page();
        for window in windows {
            open(page, window).await?;
            run(page, "window.events = follow('/events/live'); await events(1);").await?;
        }
        let first = sidecar(&app)?;
        first.signal(Signal::KILL)?;
        for window in windows {
            page.switch_to(window).await?;
            // The variable on the window still exists: the page was not reloaded.
            let answered =
                run(page, "const seen = await events(2); return [await text('/pid'), seen]").await?;
            assert_ne!(answered[0], first.pid.to_string(), "{transport}, {window}");
            assert_eq!(answered[1], json!([["open", ""], ["open", ""]]), "{transport}, {window}");
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_reload_cancels_the_requests_of_the_page() -> Result<()> {
    let app = launch_calling().await?;
    let page = app.page();
    run(
        page,
        "window.before = true;
        sidecar.fetch('/silence/unanswered');
        window.body = (await sidecar.fetch('/bytes/1000000000/answered')).body;
        await follow('/events/followed')(1);
        await text('/begun/unanswered');",
    )
    .await?;
    page.reload().await?;
    prepare(page).await?;
    let answered = run(
        page,
        "const names = ['unanswered', 'answered', 'followed'];
        await Promise.all(names.map((name) => text(`/dropped/${name}`)));
        return window.before === undefined;",
    )
    .await?;
    assert_eq!(answered, json!(true), "the page was not reloaded");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_closed_window_cancels_its_requests() -> Result<()> {
    let app = launch("local", &["calling", "calling-too"]).await?;
    let page = app.page();
    open(page, "calling-too").await?;
    run(
        page,
        "window.body = (await sidecar.fetch('/bytes/1000000000/answered')).body;
        await follow('/events/followed')(1);",
    )
    .await?;
    open(page, "calling").await?;
    page.invoke("plugin:window|close", json!({ "label": "calling-too" })).await?;
    run(page, "await Promise.all(['answered', 'followed'].map((name) => text(`/dropped/${name}`)));").await?;
    Ok(())
}
