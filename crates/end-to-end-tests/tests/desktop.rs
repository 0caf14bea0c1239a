//! AIOS as its user sees it: the built app in its real webview. `cargo xtask test` provides the app (`AIOS_APP`)
//! and a display.

#![cfg(target_os = "linux")]

#[path = "desktop/private.rs"]
mod private;

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Stdio};

use anyhow::{Context, Result, ensure};
use end_to_end_tests::webview::{App, Hue, ShownState};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use integration_tests::LiveProcess;
use pillion::RestartLimit;
use rustix::{
    fs::{CWD, Mode, mkfifoat},
    process::Signal,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::Command,
};

const LABEL: &str = "[data-testid=backend-label]";
const PORT: &str = "[data-testid=backend-port]";
const UPTIME: &str = "[data-testid=backend-uptime]";
const PROCESS: &str = "[data-testid=backend-pid]";
const STATUS: &str = "[data-testid=backend-status]";
const RETRY: &str = "[data-testid=backend-retry]";

/// The backend's program, as the Linux package names it.
const BACKEND: &str = "aios-backend";

async fn launch() -> Result<App> {
    let app = env::var_os("AIOS_APP").context("AIOS_APP must name the built app: use `cargo xtask test`")?;
    App::launch(&PathBuf::from(app)).await
}

fn screenshot_file(name: &str) -> PathBuf {
    let folder = env::var_os("AIOS_SCREENSHOTS").map_or_else(env::temp_dir, PathBuf::from);
    folder.join(format!("{name}.png"))
}

fn backend(app: &App) -> Result<LiveProcess> {
    let processes = app.processes()?;
    let names = format!("{processes:?}");
    processes
        .into_iter()
        .find(|process| process.runs(BACKEND))
        .with_context(|| format!("no {BACKEND} among {names}"))
}

/// `GET /health` from this process, without the token.
async fn health(port: u16) -> Result<Value> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request =
        Request::get("/health").header("host", format!("127.0.0.1:{port}")).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    ensure!(response.status() == StatusCode::OK, "/health answered {}", response.status());
    let body = response.into_body().collect().await?.to_bytes();
    drop(sender);
    connection.await??;
    Ok(serde_json::from_slice(&body)?)
}

/// Kills the backend, and waits until the page is connected to the next one.
async fn kill_and_wait_for_restart(app: &App) -> Result<()> {
    let page = app.page();
    let process = page.text(PROCESS).await?;
    backend(app)?.signal(Signal::KILL)?;
    page.wait_for_change(PROCESS, &process).await?;
    page.wait_for_state(ShownState::Connected).await
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn connects_and_shows_it_in_green() -> Result<()> {
    let app = launch().await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;
    // Only the backend's answer to the page itself has the uptime.
    page.wait_for_change(UPTIME, "").await?;

    assert_eq!(page.text("h1").await?, "AIOS");
    assert_eq!(page.text(LABEL).await?, "Backend connected");
    assert_eq!(page.hue(LABEL).await?, Hue::Green);
    app.page().screenshot(&screenshot_file("connected")).await
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn shows_the_port_of_the_backend() -> Result<()> {
    let app = launch().await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;

    let asked = page.invoke("get_backend_port", json!({})).await?;
    let shown: u16 = page.text(PORT).await?.parse()?;
    assert_eq!(asked, json!(shown));
    assert_eq!(health(shown).await?, json!({ "status": "ok" }), "a client without the token sees no more");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn closing_the_window_leaves_no_process() -> Result<()> {
    let app = launch().await?;
    app.page().wait_for_state(ShownState::Connected).await?;
    // The backend runs; otherwise the empty list below would prove nothing.
    backend(&app)?;

    let left = app.close().await?;
    assert!(left.is_empty(), "these outlive the app: {left:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn killing_the_app_leaves_no_process() -> Result<()> {
    let app = launch().await?;
    app.page().wait_for_state(ShownState::Connected).await?;
    backend(&app)?;
    let processes = app.processes()?;
    processes.iter().find(|process| process.runs("aios")).context("no aios")?.signal(Signal::KILL)?;

    let left = app.end().await?;
    assert!(left.is_empty(), "these outlive the app: {left:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_killed_backend_is_restarted_without_a_reload() -> Result<()> {
    let app = launch().await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;
    let first = backend(&app)?;
    // A reload would lose this variable. The observer sees the state after each change of the page, even if React replaces the element meanwhile.
    page.execute(
        "window.seen = [];
        const look = () => {
            const { state } = document.querySelector('[data-testid=backend-status]')?.dataset ?? {};
            if (state && state !== seen.at(-1)) seen.push(state);
        };
        new MutationObserver(look).observe(document.body, { attributes: true, childList: true, subtree: true });",
    )
    .await?;

    kill_and_wait_for_restart(&app).await?;
    assert_eq!(page.text(LABEL).await?, "Backend connected");
    assert_eq!(page.hue(LABEL).await?, Hue::Green);
    assert_ne!(backend(&app)?.pid, first.pid);
    let shown: u16 = page.text(PORT).await?.parse()?;
    assert_eq!(health(shown).await?["status"], "ok");

    let seen = page.execute("return seen").await?;
    let seen = seen.as_array().context("the page was reloaded")?;
    assert!(seen.contains(&json!("connected")) && !seen.contains(&json!("error")), "{seen:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_backend_beyond_its_restart_limit_is_shown_and_can_be_retried() -> Result<()> {
    let app = launch().await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;
    for _ in 0..RestartLimit::default().limit {
        kill_and_wait_for_restart(&app).await?;
    }

    let last = backend(&app)?;
    last.signal(Signal::KILL)?;
    page.wait_for_state(ShownState::Error).await?;
    assert_eq!(page.hue(LABEL).await?, Hue::Red);
    let reason = page.text(STATUS).await?;
    assert!(reason.contains("SIGKILL") && reason.contains("given up"), "the reason is missing: {reason}");
    page.screenshot(&screenshot_file("error")).await?;

    page.click(RETRY).await?;
    page.wait_for_state(ShownState::Connected).await?;
    assert_eq!(page.text(LABEL).await?, "Backend connected");
    assert_ne!(backend(&app)?.pid, last.pid);
    let shown: u16 = page.text(PORT).await?.parse()?;
    assert_eq!(health(shown).await?["status"], "ok");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_developers_own_server_is_used_and_not_stopped() -> Result<()> {
    let built = PathBuf::from(env::var_os("AIOS_APP").context("use `cargo xtask test`")?);
    // Stdin is not a lifeline here: only its developer ends the server.
    #[expect(clippy::disallowed_methods, reason = "drop kills it")]
    let mut server = Command::new(built.with_file_name(BACKEND))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().context("its stdout is not piped")?).read_line(&mut line).await?;
    let port: u16 = line.trim_end().strip_prefix("BACKEND_PORT:").context("no announcement")?.parse()?;

    // The server is used although the app has its sidecar beside it.
    let folder = tempfile::tempdir()?;
    fs::copy(&built, folder.path().join("aios"))?;
    fs::copy(built.with_file_name(BACKEND), folder.path().join(BACKEND))?;
    let script = folder.path().join("with-port");
    fs::write(&script, format!("#!/bin/sh\nBACKEND_PORT={port} exec \"${{0%/*}}/aios\"\n"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let app = App::launch(&script).await?;
    app.page().wait_for_state(ShownState::Connected).await?;
    assert_eq!(app.page().text(PORT).await?, port.to_string());
    let left = app.close().await?;
    assert!(left.is_empty(), "these outlive the app: {left:?}");

    assert_eq!(health(port).await?["status"], "ok", "the server continues without the app");
    server.kill().await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_rebuilt_backend_takes_over_and_a_broken_build_does_not() -> Result<()> {
    let built = PathBuf::from(env::var_os("AIOS_APP").context("use `cargo xtask test`")?);
    let folder = tempfile::tempdir()?;
    let (program, next) = (folder.path().join(BACKEND), folder.path().join("next"));
    fs::copy(&built, folder.path().join("aios"))?;
    fs::copy(built.with_file_name(BACKEND), &program)?;
    let app = App::launch(&folder.path().join("aios")).await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;
    page.execute("window.same = true").await?;
    let shell = |app: &App| {
        Ok::<_, anyhow::Error>(app.processes()?.into_iter().find(|p| p.runs("aios")).map(|p| p.pid))
    };
    let (shell_before, process) = (shell(&app)?, page.text(PROCESS).await?);

    // The broken build reports its start through a named pipe.
    let tried = folder.path().join("tried");
    mkfifoat(CWD, &tried, Mode::RUSR | Mode::WUSR)?;
    let script = format!("#!/bin/sh\necho tried > {}\nexit 3\n", tried.display());
    fs::write(&next, script)?;
    fs::set_permissions(&next, fs::Permissions::from_mode(0o755))?;
    fs::rename(&next, &program)?;
    assert_eq!(tokio::fs::read_to_string(&tried).await?, "tried\n");
    assert_eq!(page.text(PROCESS).await?, process, "the old backend continues");

    fs::copy(built.with_file_name(BACKEND), &next)?;
    fs::rename(&next, &program)?;
    page.wait_for_change(PROCESS, &process).await?;
    page.wait_for_state(ShownState::Connected).await?;
    let shown: u16 = page.text(PORT).await?.parse()?;
    assert_eq!(health(shown).await?["status"], "ok");
    assert_eq!(page.execute("return window.same").await?, json!(true), "the page was reloaded");
    assert_eq!(shell(&app)?, shell_before);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn fits_windows_narrow_and_wide() -> Result<()> {
    let app = launch().await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;

    for (width, height) in [(400, 720), (1600, 900)] {
        app.resize(width, height).await?;
        page.screenshot(&screenshot_file(&format!("{width}px"))).await?;
        let overflow = page.execute("return document.documentElement.scrollWidth - innerWidth").await?;
        assert_eq!(overflow, json!(0), "at {width} pixels the page is wider than its window");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn the_page_has_no_unneeded_permission() -> Result<()> {
    let app = launch().await?;
    let page = app.page();

    // Commands of every Tauri app, and those commands of the plugin that AIOS does not use.
    for command in [
        "plugin:app|version",
        "plugin:window|create",
        "plugin:event|emit",
        "plugin:http|fetch",
        "plugin:pillion|ready",
        "plugin:pillion|status",
        "plugin:pillion|swap",
        "plugin:pillion|stop",
    ] {
        let refused =
            page.invoke(command, json!({ "sidecar": "backend" })).await.map_err(|error| error.to_string());
        assert!(refused.as_ref().is_err_and(|error| error.contains("not allowed")), "{command}: {refused:?}");
    }
    Ok(())
}
