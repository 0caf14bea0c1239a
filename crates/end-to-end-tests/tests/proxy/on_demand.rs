//! A sidecar on demand: the pages of the app start it, and it is stopped after their last use.

use std::path::Path;

use anyhow::Result;
use end_to_end_tests::webview::{App, Page, launch_fake_app_on_demand};
use serde_json::json;

use super::{STREAMS, open, run, variables};

const CSP: &str = "connect-src ipc: http://ipc.localhost http://127.0.0.1:*";

/// Follows the changes of the sidecar's state in `states`, but for those that pass: a page that is slow gets only the newest status.
/// `after(count, state)` waits for a state after the first `count` ones, and returns how many there are up to it.
const FOLLOW_STATES: &str = "
    window.states = [];
    let notify = () => {};
    sidecar.watch(({ state }) => {
        if (!['starting', 'stopping'].includes(state) && states.at(-1) !== state) states.push(state);
        notify();
    });
    window.after = async (count, state) => {
        while (!states.slice(count).includes(state)) await new Promise((woken) => { notify = woken; });
        return states.indexOf(state, count) + 1;
    };
    await after(0, 'idle');";

/// Launches the app. Its sidecar is stopped 100 ms after its last use.
async fn launch(transport: &str, windows: &[&str]) -> Result<App> {
    let mut declared =
        json!({ "transport": transport, "private": true, "onDemand": true, "idleStopMs": 100 });
    // A busy machine must not make it unhealthy.
    declared["liveness"] = json!(false);
    launch_fake_app_on_demand(Path::new(STREAMS), &variables(&declared, windows, CSP)).await
}

/// Switches to the page in the window with this label, which sees that the sidecar is idle.
async fn open_idle(page: &Page, label: &str) -> Result<()> {
    open(page, label).await?;
    run(page, FOLLOW_STATES).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn the_first_request_starts_it_and_it_is_idle_after_the_last_one() -> Result<()> {
    for transport in ["tcp", "local"] {
        let app = launch(transport, &["calling"]).await?;
        let page = app.page();
        open_idle(page, "calling").await?;
        assert!(!app.processes()?.iter().any(|process| process.runs("streams")), "{transport}: no use yet");
        let answered = run(
            page,
            "const first = await text('/pid');
            const begun = await after(0, 'ready');
            const ended = await after(begun, 'idle');
            const second = await text('/pid');
            await after(ended, 'ready');
            return { seen: states.slice(0, begun), two: first !== second, pid: second };",
        )
        .await?;
        assert_eq!(answered["seen"], json!(["idle", "ready"]), "{transport}");
        assert_eq!(answered["two"], true, "{transport}: the idle one has ended");
        assert!(answered["pid"].as_str().is_some_and(|pid| pid.parse::<u32>().is_ok()), "{answered}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_window_that_closes_and_a_page_that_reloads_end_their_uses() -> Result<()> {
    for transport in ["tcp", "local"] {
        let app = launch(transport, &["calling", "calling-too"]).await?;
        let page = app.page();
        for ends_by in ["reload", "close"] {
            open_idle(page, "calling-too").await?;
            open(page, "calling").await?;
            // An open event stream is a use for as long as the page exists.
            run(page, "window.seen = follow('/events/live'); await seen(1);").await?;
            page.switch_to("calling-too").await?;
            let pid = run(
                page,
                "const ready = await after(0, 'ready');
                // A use of another page that ends does not end that of the first one.
                for (let use = 0; use < 5; use += 1) await text('/echo');
                await text('/emit/1', { method: 'POST', body: 'one' });
                return text('/pid');",
            )
            .await?;
            page.switch_to("calling").await?;
            run(page, "await seen(2);").await?;
            page.switch_to("calling-too").await?;
            // The same run has served all of it.
            assert_eq!(run(page, "return states;").await?, json!(["idle", "ready"]), "{ends_by}");
            page.switch_to("calling").await?;
            if ends_by == "reload" {
                page.reload().await?;
            } else {
                page.switch_to("calling-too").await?;
                page.invoke("plugin:window|close", json!({ "label": "calling" })).await?;
            }
            page.switch_to("calling-too").await?;
            // On a busy machine, the old page lives for a while after its requests were broken off, and its stream begins again.
            run(page, "await after(2, 'idle');").await?;
            let gone = pid.as_str().and_then(|pid| pid.parse::<u32>().ok());
            assert!(!app.processes()?.iter().any(|process| Some(process.pid) == gone), "{ends_by}");
            page.reload().await?;
        }
    }
    Ok(())
}
