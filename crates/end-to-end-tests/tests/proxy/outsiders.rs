//! Who does not get to the sidecar, and what pages do not learn.

use std::{collections::HashSet, fs, path::Path};

use anyhow::{Context as _, Result};
use end_to_end_tests::webview::App;
use serde_json::json;

use super::{launch, open, run, sidecar};

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn the_token_never_gets_to_the_page() -> Result<()> {
    // Over a port the page has to have it: what looks for it here would find it.
    for (transport, is_told) in [("tcp", true), ("local", false)] {
        let app = launch(transport, &["calling"]).await?;
        let page = app.page();
        open(page, "calling").await?;
        run(page, "window.heard = listen();").await?;
        let access = page.invoke("plugin:pillion|connect", json!({ "sidecar": "sidecar" })).await?;
        assert_eq!(access["token"].is_string(), is_told, "{transport}");
        if transport == "local" {
            let pid = run(page, "await follow('/events/live')(1); return text('/pid');").await?;
            let heard = run(page, "return heard.join('\\n')").await?;
            let heard = heard.as_str().context("no text")?;
            let pid = pid.as_str().context("no pid")?;
            assert!(
                heard.contains("/pid") && heard.contains("event: open") && heard.contains(pid),
                "{heard}"
            );
        }
        let tokens = run(page, "return heard.join('\\n').match(/[0-9a-f]{64}/g)").await?;
        assert_eq!(tokens.is_array(), is_told, "{transport}: {tokens}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn windows_that_were_not_granted_it_are_refused() -> Result<()> {
    let app = launch("local", &["calling", "connecting", "calling-elsewhere"]).await?;
    let page = app.page();
    for (window, why) in [
        ("main", "pillion.watch not allowed"),
        ("connecting", "pillion.request not allowed"),
        ("calling-elsewhere", r#"sidecar "sidecar" not allowed"#),
    ] {
        open(page, window).await?;
        let refused = run(page, "return text('/echo').catch(String)").await?;
        assert!(refused.as_str().is_some_and(|refused| refused.contains(why)), "{window}: {refused}");
    }
    open(page, "calling").await?;
    assert_eq!(run(page, "return text('/pid')").await?, sidecar(&app)?.pid.to_string());
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn what_one_window_asked_for_is_not_anothers() -> Result<()> {
    let app = launch("local", &["calling", "calling-too"]).await?;
    let page = app.page();
    open(page, "calling").await?;
    let id = run(
        page,
        "const heard = listen();
        window.body = (await sidecar.fetch('/bytes/9000001/wanted')).body;
        return Number(/\"id\":(\\d+)/.exec(heard.join('\\n'))[1]);",
    )
    .await?;

    page.switch_to("calling-too").await?;
    let refused = page.invoke("plugin:pillion|read", json!({ "id": id })).await;
    let refused = refused.map_err(|error| error.to_string());
    assert!(refused.as_ref().is_err_and(|error| error.contains("no such request")), "{refused:?}");
    page.invoke("plugin:pillion|cancel", json!({ "id": id })).await?;

    page.switch_to("calling").await?;
    let whole = "return isWhole(new Uint8Array(await new Response(body).arrayBuffer()), 9_000_001)";
    assert_eq!(run(page, whole).await?, json!(true));
    // Its own number does it.
    let cancelled = "window.body = (await sidecar.fetch('/bytes/9000001/cancelled')).body;
        await __TAURI_INTERNALS__.invoke('plugin:pillion|cancel', { id: ID + 1 });
        return new Response(body).arrayBuffer().catch(String)";
    let cancelled = run(page, &cancelled.replace("ID", &id.to_string())).await?;
    assert!(cancelled.as_str().is_some_and(|error| error.contains("no such request")), "{cancelled}");
    Ok(())
}

/// What the sidecar listens on: how many TCP sockets, and the paths of Unix domain sockets (`proc_net_tcp(5)`, `unix(7)`).
fn listeners(app: &App) -> Result<(usize, Vec<String>)> {
    const LISTENING: &str = "0A";
    const ACCEPTS_CONNECTIONS: &str = "00010000";
    let pid = sidecar(app)?.pid;
    let mut inodes = HashSet::new();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let target = fs::read_link(descriptor?.path())?;
        let inode = target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']'));
        inodes.extend(inode.map(str::to_owned));
    }
    let rows = |table: &str| -> Result<Vec<Vec<String>>> {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}"))?;
        Ok(text.lines().map(|row| row.split_whitespace().map(str::to_owned).collect()).collect())
    };
    let mut tcp = rows("tcp")?;
    tcp.extend(rows("tcp6").unwrap_or_default());
    tcp.retain(|row| row[3] == LISTENING && inodes.contains(&row[9]));
    let mut unix = rows("unix")?;
    unix.retain(|row| row[3] == ACCEPTS_CONNECTIONS && inodes.contains(&row[6]));
    Ok((tcp.len(), unix.into_iter().map(|row| row[7..].join(" ")).collect()))
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn it_has_no_port_and_no_name() -> Result<()> {
    let app = launch("tcp", &[]).await?;
    assert_eq!(listeners(&app)?, (1, vec![]), "this is how a port would be found");
    drop(app);

    let app = launch("local", &[]).await?;
    let (ports, names) = listeners(&app)?;
    assert_eq!((ports, names.len()), (0, 1), "{names:?}");
    // Not in the abstract namespace, whose names begin with an @ here, and no file any more.
    let path = Path::new(&names[0]);
    assert!(path.is_absolute(), "{names:?}");
    assert!(!path.try_exists()? && !path.parent().context("no folder")?.try_exists()?, "{names:?}");
    Ok(())
}
