//! An app that `pillion new` has made from Tauri's template. `cargo xtask template-apps` builds it (`ADOPTER_APP`), says what its backend
//! answers (`ADOPTER_ANSWER`) and where the screenshot goes (`ADOPTER_SCREENSHOT`), and provides a display.

#![cfg(target_os = "linux")]

use std::{env, path::PathBuf};

use anyhow::{Context, Result, ensure};
use end_to_end_tests::webview::{App, Hue};

const STATE: &str = "#backend-state";
const ANSWER: &str = "#backend-answer";
/// What both say before the backend has answered.
const NOTHING_YET: &str = "–";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the app of `cargo xtask template-apps`"]
async fn window_is_green() -> Result<()> {
    let variable = |name: &str| env::var_os(name).context("use `cargo xtask template-apps`");
    let (program, screenshot) =
        (PathBuf::from(variable("ADOPTER_APP")?), PathBuf::from(variable("ADOPTER_SCREENSHOT")?));
    let expected = variable("ADOPTER_ANSWER")?;
    let app = App::launch(&program).await?;
    let page = app.page();
    let answer = page.wait_for_change(ANSWER, NOTHING_YET).await?;
    // The state may be shown after the answer.
    let mut state = page.text(STATE).await?;
    while state != "ready" && expected == *answer {
        state = page.wait_for_change(STATE, &state).await?;
    }
    page.screenshot(&screenshot).await?;
    ensure!(expected == *answer, "the page shows {answer:?}, and the state {state:?}");
    ensure!(page.hue(STATE).await? == Hue::Green, "the state is not green");
    let left = app.close().await?;
    ensure!(left.is_empty(), "after the window was closed: {left:?}");
    Ok(())
}
