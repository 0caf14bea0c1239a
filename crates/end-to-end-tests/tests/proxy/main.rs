//! A sidecar without a port, called by the pages of a Tauri app in its real webview: `streams`, beside `fake-app`.
//! `cargo xtask test` provides the app, the client as one script, tauri-driver and the display; that is why plain
//! `cargo test` passes these tests over.

#![cfg(target_os = "linux")]

mod outsiders;
mod requests;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use end_to_end_tests::webview::{App, Page, launch_fake_app};
use integration_tests::LiveProcess;
use serde_json::{Value, json};

/// The app with its sidecar on a `transport`, and with these windows besides the one that may do nothing: those that `fake-app`
/// has capabilities for.
async fn launch(transport: &str, windows: &[&str]) -> Result<App> {
    launch_with_csp(transport, windows, "connect-src ipc: http://ipc.localhost").await
}

async fn launch_with_csp(transport: &str, windows: &[&str], csp: &str) -> Result<App> {
    let declared = json!({ "transport": transport, "private": true }).to_string();
    let variables = [
        ("FAKE_APP_SIDECAR", declared),
        ("FAKE_APP_WINDOWS", windows.join(",")),
        ("FAKE_APP_CSP", csp.to_owned()),
    ];
    launch_fake_app(Path::new(env!("CARGO_BIN_EXE_streams")), &[], &variables).await
}

/// The app with its sidecar on a socket, and the page of a window that may call it.
async fn launch_calling() -> Result<App> {
    let app = launch("local", &["calling"]).await?;
    open(app.page(), "calling").await?;
    Ok(app)
}

/// Goes on with the page in the window of this label, which is given what the tests need.
async fn open(page: &Page, label: &str) -> Result<()> {
    page.switch_to(label).await?;
    prepare(page).await
}

/// Gives the page the client, and what is in page.js.
async fn prepare(page: &Page) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tauri-plugin-pillion/dist-iife/pillion.js");
    let client = fs::read_to_string(&file).with_context(|| {
        format!("{} is not there: `npm run bundle -w crates/tauri-plugin-pillion` makes it", file.display())
    })?;
    page.execute(&format!("{client}\n{}", include_str!("page.js"))).await?;
    Ok(())
}

/// Runs the body of an async function in the page, and answers what that returns.
async fn run(page: &Page, body: &str) -> Result<Value> {
    page.execute(&format!("return (async () => {{ {body} }})()")).await
}

fn sidecar(app: &App) -> Result<LiveProcess> {
    app.processes()?.into_iter().find(|process| process.runs("streams")).context("no sidecar")
}
