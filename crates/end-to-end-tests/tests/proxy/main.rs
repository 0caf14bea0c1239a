//! Requests through the app (proxy): the pages of `fake-app` in its real webview call the sidecar `streams`, which has no
//! port. Also a sidecar on demand, with a port and without one. `cargo xtask test` provides the app, the client as one script, and the display.

#![cfg(target_os = "linux")]

mod at_start;
mod interrupted_pages;
mod main_thread;
mod on_demand;
mod outsiders;
mod requests;
mod uploads;
mod web_sockets;

use std::path::Path;

use anyhow::{Context as _, Result};
use end_to_end_tests::webview::{App, Page, client_script, launch_fake_app};
use integration_tests::LiveProcess;
use serde_json::{Value, json};

/// Launches the app with its sidecar on this transport. The main window has no permissions. The other windows have the
/// capabilities that `fake-app` declares for their labels.
async fn launch(transport: &str, windows: &[&str]) -> Result<App> {
    launch_with_csp(transport, windows, "connect-src ipc: http://ipc.localhost").await
}

async fn launch_with_csp(transport: &str, windows: &[&str], csp: &str) -> Result<App> {
    let declared = json!({ "transport": transport, "private": true });
    launch_fake_app(Path::new(STREAMS), &[], &variables(&declared, windows, csp)).await
}

const STREAMS: &str = env!("CARGO_BIN_EXE_streams");

/// The variables of the app, with these fields of the sidecar's declaration.
fn variables(declared: &Value, windows: &[&str], csp: &str) -> [(&'static str, String); 3] {
    [
        ("FAKE_APP_SIDECAR", declared.to_string()),
        ("FAKE_APP_WINDOWS", windows.join(",")),
        ("FAKE_APP_CSP", csp.to_owned()),
    ]
}

/// Launches the app with its sidecar on a Unix domain socket, and opens the page of a window that may call it.
async fn launch_calling() -> Result<App> {
    let app = launch("local", &["calling"]).await?;
    open(app.page(), "calling").await?;
    Ok(app)
}

/// Switches to the page in the window with this label, and prepares it.
async fn open(page: &Page, label: &str) -> Result<()> {
    page.switch_to(label).await?;
    prepare(page).await
}

/// Loads the client and page.js into the page.
async fn prepare(page: &Page) -> Result<()> {
    page.execute(&format!("{}\n{}", client_script()?, include_str!("page.js"))).await?;
    Ok(())
}

/// Runs the body of an async function in the page, and returns its result.
async fn run(page: &Page, body: &str) -> Result<Value> {
    page.execute(&format!("return (async () => {{ {body} }})()")).await
}

fn sidecar(app: &App) -> Result<LiveProcess> {
    app.processes()?.into_iter().find(|process| process.runs("streams")).context("no sidecar")
}
