//! Windows without access to the sidecar, and secrets that pages never see.

use std::{collections::HashSet, fs, path::Path};

use anyhow::{Context as _, Result};
use end_to_end_tests::webview::App;
use serde_json::json;

use super::{launch, open, run, sidecar};

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn the_page_never_receives_the_token() -> Result<()> {
    // With a port the page needs the token. This shows that the search finds it.
    for (transport, is_given) in [("tcp", true), ("local", false)] {
        let app = launch(transport, &["calling"]).await?;
        let page = app.page();
        open(page, "calling").await?;
        run(page, "window.recorded = record();").await?;
        let access = page.invoke("plugin:pillion|connect", json!({ "sidecar": "sidecar" })).await?;
        assert_eq!(access["token"].is_string(), is_given, "{transport}");
        if transport == "local" {
            let pid = run(page, "await follow('/events/live')(1); return text('/pid');").await?;
            let recorded = run(page, "return recorded.join('\\n')").await?;
            let recorded = recorded.as_str().context("no text")?;
            let pid = pid.as_str().context("no pid")?;
            assert!(
                recorded.contains("/pid") && recorded.contains("event: open") && recorded.contains(pid),
                "{recorded}"
            );
        }
        let tokens = run(page, "return recorded.join('\\n').match(/[0-9a-f]{64}/g)").await?;
        assert_eq!(tokens.is_array(), is_given, "{transport}: {tokens}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn windows_without_the_permission_are_refused() -> Result<()> {
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
async fn a_window_cannot_touch_the_requests_of_another() -> Result<()> {
    let app = launch("local", &["calling", "calling-too"]).await?;
    let page = app.page();
    open(page, "calling").await?;
    let id = run(
        page,
        "const recorded = record();
        window.body = (await sidecar.fetch('/bytes/9000001/wanted')).body;
        return Number(/\"id\":(\\d+)/.exec(recorded.join('\\n'))[1]);",
    )
    .await?;

    page.switch_to("calling-too").await?;
    let refused = page.invoke("plugin:pillion|read", json!({ "id": id })).await;
    let refused = refused.map_err(|error| error.to_string());
    assert!(refused.as_ref().is_err_and(|error| error.contains("no such request")), "{refused:?}");
    page.invoke("plugin:pillion|cancel", json!({ "id": id })).await?;

    page.switch_to("calling").await?;
    let whole = "return isComplete(new Uint8Array(await new Response(body).arrayBuffer()), 9_000_001)";
    assert_eq!(run(page, whole).await?, json!(true));
    // The same command with the window's own request takes effect.
    let cancelled = "window.body = (await sidecar.fetch('/bytes/9000001/cancelled')).body;
        await __TAURI_INTERNALS__.invoke('plugin:pillion|cancel', { id: ID + 1 });
        return new Response(body).arrayBuffer().catch(String)";
    let cancelled = run(page, &cancelled.replace("ID", &id.to_string())).await?;
    assert!(cancelled.as_str().is_some_and(|error| error.contains("no such request")), "{cancelled}");
    Ok(())
}

/// The listeners of the sidecar: the number of TCP sockets, and the paths of Unix domain sockets (`proc_net_tcp(5)`, `unix(7)`).
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
async fn the_sidecar_has_no_port_and_no_socket_file() -> Result<()> {
    let app = launch("tcp", &[]).await?;
    assert_eq!(listeners(&app)?, (1, vec![]), "the search does not find a port");
    drop(app);

    let app = launch("local", &[]).await?;
    let (ports, names) = listeners(&app)?;
    assert_eq!((ports, names.len()), (0, 1), "{names:?}");
    // Not in the abstract namespace, whose names begin with @ here. The file is deleted.
    let path = Path::new(&names[0]);
    assert!(path.is_absolute(), "{names:?}");
    assert!(!path.try_exists()? && !path.parent().context("no folder")?.try_exists()?, "{names:?}");
    Ok(())
}
