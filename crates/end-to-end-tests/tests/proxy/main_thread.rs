//! What the plugin does on the app's main thread.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use end_to_end_tests::webview::{launch_fake_app, launch_fake_app_to_die};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{STREAMS, open, run, variables};

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_short_request_needs_no_worker_of_the_runtime() -> Result<()> {
    let declared = json!({ "transport": "local", "private": true });
    let variables = variables(&declared, &["calling"], "connect-src ipc: http://ipc.localhost");
    let (app, mut test) = launch_fake_app_to_die(Path::new(STREAMS), &[], &variables, 1_000, "busy").await?;
    open(app.page(), "calling").await?;
    let pid = run(app.page(), "return text('/pid')").await?;
    test.write_all(b"\n").await?;
    test.read_exact(&mut [0; "busy\n".len()]).await?;
    // A request whose answer is late goes on in the runtime, where it waits for a worker: on a slow machine, one of many is in time.
    let answered = run(
        app.page(),
        "const answers = [];
        for (let sent = 0; sent < 1_000 && answers.length === 0; sent++) {
            text('/pid').then((answer) => answers.push(answer));
            await new Promise((next) => setTimeout(next, 10));
        }
        return answers.at(0) ?? 'no answer';",
    )
    .await?;
    assert_eq!(answered, pid);
    Ok(())
}

/// How many handles to the app were kept each time, by its log: see `event_loop_handles.rs` of the plugin.
fn kept_handles(log: &Path) -> Result<Vec<u32>> {
    let log = fs::read_to_string(log)?;
    let events = log.lines().filter(|line| line.contains("event_loop_handles"));
    events.map(|line| Ok(line.rsplit_once("count=").context("no count")?.1.parse()?)).collect()
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn handles_to_the_app_are_kept_from_the_start_on_and_with_the_calls_of_pages() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let mut variables = variables(&json!({}), &["calling"], "connect-src ipc: http://ipc.localhost").to_vec();
    variables.push(("FAKE_APP_LOG", log.display().to_string()));
    let app = launch_fake_app(Path::new(STREAMS), &[], &variables).await?;
    open(app.page(), "calling").await?;
    assert_eq!(kept_handles(&log)?, [4096]);
    run(app.page(), "for (let call = 0; call < 256; call++) await sidecar.status();").await?;
    assert_eq!(kept_handles(&log)?, [4096, 1, 1]);
    Ok(())
}
