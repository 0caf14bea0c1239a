//! An app that `pillion new` has made from Tauri's template. `cargo xtask adopters` builds it (`ADOPTER_APP`) and provides
//! tauri-driver and a display.

#![cfg(target_os = "linux")]

use std::{env, path::PathBuf};

use anyhow::{Context, Result, ensure};
use end_to_end_tests::webview::{App, DriverKind, Hue};

const STATE: &str = "#backend-state";
const ANSWER: &str = "#backend-answer";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the app of `cargo xtask adopters`"]
async fn window_is_green() -> Result<()> {
    let app = PathBuf::from(env::var_os("ADOPTER_APP").context("use `cargo xtask adopters`")?);
    let app = App::launch(DriverKind::tauri(), &app).await?;
    let page = app.page();
    let answer = page.wait_for_change(ANSWER, "").await?;
    ensure!(answer == "Hello from Rust", "the page shows {answer:?}");
    // The state may be shown after the answer.
    let mut state = page.text(STATE).await?;
    while state != "ready" {
        state = page.wait_for_change(STATE, &state).await?;
    }
    ensure!(page.hue(STATE).await? == Hue::Green, "the state is not green");
    let left = app.close().await?;
    ensure!(left.is_empty(), "after the window was closed: {left:?}");
    Ok(())
}
