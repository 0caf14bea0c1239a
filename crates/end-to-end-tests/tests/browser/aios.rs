//! AIOS in its window, while the user's browser shows foreign pages.

use std::{env, fs, net::Ipv4Addr, os::unix::fs::symlink};

use anyhow::{Context as _, Result, ensure};
use end_to_end_tests::{
    browser::{Learned, SECRET},
    webview::{App, ShownState},
};
use serde_json::json;

use super::{Counter, assert_refused, attacker_server, browser, foreign_pages};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium, the built app and a display: cargo xtask test"]
async fn foreign_pages_reach_no_handler_of_a_running_aios() -> Result<()> {
    // Beside the app lies `hit-counter` under the name of its backend.
    let folder = tempfile::tempdir()?;
    let built =
        env::var_os("AIOS_APP").context("AIOS_APP must name the built app: use `cargo xtask test`")?;
    let program = folder.path().join("aios");
    fs::copy(built, &program)?;
    symlink(env!("CARGO_BIN_EXE_hit-counter"), folder.path().join("aios-backend"))?;
    let app = App::launch(&program).await?;
    app.page().wait_for_state(ShownState::Connected).await?;
    let access = app.page().invoke("plugin:pillion|connect", json!({ "sidecar": "backend" })).await?;
    let url = access["url"].as_str().context("no address")?;
    let port = url.rsplit(':').next().context("no port")?.parse()?;
    let counter = Counter::of_app(port, access["token"].as_str().context("no token")?);

    let server = attacker_server().await?;
    let browser = browser(&server, &[]).await?;
    for page in foreign_pages(server.port(), folder.path())? {
        browser.show(&page.url, page.framed).await?;
        let attacks = browser.attacks().await?;
        let learned_nothing = |learned: &Learned| *learned == Learned::default();
        assert_refused(
            &browser,
            &page,
            &attacks,
            &format!("http://{}:{port}", Ipv4Addr::LOCALHOST),
            &counter,
            learned_nothing,
        )
        .await?;
    }

    // The counter runs and counts: it answers the app's own page.
    let token = counter.token()?;
    let asked = format!(
        "return fetch('{url}/page', {{ headers: {{ authorization: 'Bearer {token}' }} }}).then((it) => it.text())"
    );
    assert_eq!(app.page().execute(&asked).await?, json!(SECRET));
    assert_eq!(counter.hits().await?, ["/page"]);
    let left = app.close().await?;
    ensure!(left.is_empty(), "these outlive the app: {left:?}");
    Ok(())
}
