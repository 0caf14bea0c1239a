//! The WebSockets of a page, with a port and without one: the page's code is the same.

use anyhow::Result;
use rustix::process::Signal;
use serde_json::json;

use super::{launch, launch_calling, launch_with_csp, open, prepare, run, sidecar};

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn messages_and_closes_pass_in_both_directions_on_each_transport() -> Result<()> {
    for (transport, length, csp) in [
        ("local", 5_000_003, "connect-src ipc: http://ipc.localhost"),
        // Tauri then sends messages as text, and bytes as arrays of numbers.
        ("local", 300_001, "connect-src 'none'"),
        ("tcp", 5_000_003, "connect-src ipc: http://ipc.localhost http://127.0.0.1:* ws://127.0.0.1:*"),
    ] {
        let app = launch_with_csp(transport, &["calling"], csp).await?;
        open(app.page(), "calling").await?;
        let answered = run(
            app.page(),
            &"const { socket, entries, until } = connect('/socket/echo');
            await until('open');
            socket.send('größer');
            await until('größer');
            const length = LENGTH;
            socket.send(new Uint8Array(length).map((_, at) => at % 251));
            socket.send(new Blob(['blob']));
            socket.send('last');
            await until('last');
            const [large, blob] = entries.slice(3);
            // The sidecar closes it, and it opens again.
            socket.send('close');
            await until('closed 4001 as you wish');
            await until('open', 2);
            socket.close(4000, 'bye');
            await until('closed 4000 bye');
            return {
                large: isComplete(new Uint8Array(large), length),
                blob: new TextDecoder().decode(blob),
                others: entries.filter((entry) => typeof entry === 'string'),
            };"
            .replace("LENGTH", &length.to_string()),
        )
        .await?;
        let others = json!([
            "opened",
            "open",
            "größer",
            "last",
            "closed 4001 as you wish",
            "opened",
            "open",
            "closed 4000 bye"
        ]);
        let expected = json!({ "large": true, "blob": "blob", "others": others });
        assert_eq!(answered, expected, "{transport}, {csp}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_web_socket_opens_again_after_a_crash() -> Result<()> {
    let app = launch_calling().await?;
    let page = app.page();
    run(page, "window.live = connect('/socket/live'); await live.until('open');").await?;
    sidecar(&app)?.signal(Signal::KILL)?;
    let answered = run(
        page,
        "await live.until('open', 2);
        live.socket.send('after');
        await live.until('after');
        return live.entries;",
    )
    .await?;
    assert_eq!(answered, json!(["opened", "open", "closed 1006 ", "opened", "open", "after"]));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn it_ends_with_its_page_and_with_its_window() -> Result<()> {
    let app = launch("local", &["calling", "calling-too"]).await?;
    let page = app.page();
    open(page, "calling-too").await?;
    run(page, "await connect('/socket/closed').until('open');").await?;
    open(page, "calling").await?;
    run(page, "await connect('/socket/reloaded').until('open');").await?;
    page.reload().await?;
    prepare(page).await?;
    run(page, "await text('/dropped/reloaded');").await?;
    page.invoke("plugin:window|close", json!({ "label": "calling-too" })).await?;
    run(page, "await text('/dropped/closed');").await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_window_without_the_permission_gets_an_error() -> Result<()> {
    let app = launch("local", &["connecting"]).await?;
    open(app.page(), "connecting").await?;
    let refused =
        run(app.page(), "return connect('/socket/refused').until((entry) => entry.startsWith('error'));")
            .await?;
    assert!(
        refused.as_str().is_some_and(|refused| refused.contains("pillion.request not allowed")),
        "{refused}"
    );
    Ok(())
}
