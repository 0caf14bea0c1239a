//! One screenshot, step by step.

#![expect(clippy::print_stderr, reason = "a command-line tool talks to a person")]

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use end_to_end_tests::webview::{App, ShownState};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> ExitCode {
    match run(env::args_os().skip(1).map(PathBuf::from).collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("screenshot: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Vec<PathBuf>) -> Result<()> {
    let Ok([app, file]) = <[PathBuf; 2]>::try_from(arguments) else { bail!("usage: screenshot APP FILE") };
    let app = App::launch(&app).await?;
    app.page().wait_for_state(ShownState::Connected).await?;
    app.page().screenshot(&file).await?;
    let left = app.close().await?;
    if !left.is_empty() {
        bail!("these processes outlive the window: {left:?}");
    }
    Ok(())
}
