//! AIOS as its user meets it: the built app, in its real webview, on a display. `cargo xtask test` provides the app
//! (`AIOS_APP`), tauri-driver and the display; that is why plain `cargo test` passes these tests over.

#![cfg(target_os = "linux")]

#[path = "desktop/private.rs"]
mod private;

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Stdio};

use anyhow::{Context, Result, ensure};
use end_to_end_tests::webview::{App, Driver, Hue, ShownState};
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
const PROCESS: &str = "[data-testid=backend-pid]";
const STATUS: &str = "[data-testid=backend-status]";
const RETRY: &str = "[data-testid=backend-retry]";

/// The backend's program, as the Linux package names it.
const BACKEND: &str = "aios-backend";

async fn launch() -> Result<App> {
    let app = env::var_os("AIOS_APP").context("AIOS_APP must name the built app: use `cargo xtask test`")?;
    App::launch(Driver::tauri(), &PathBuf::from(app)).await
}

fn picture(name: &str) -> PathBuf {
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

/// `GET /health` from this process, which is nobody to the backend.
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

/// Kills the backend, and waits until the page is connected to the one that comes after it.
async fn kill_and_await_the_next(app: &App) -> Result<()> {
    let page = app.page();
    let process = page.text(PROCESS).await?;
    backend(app)?.signal(Signal::KILL)?;
    page.wait_for_change(PROCESS, &process).await?;
    page.wait_for_state(ShownState::Connected).await
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn connects_and_says_so_in_green() -> Result<()> {
    let app = launch().await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;

    assert_eq!(page.text("h1").await?, "AIOS");
    assert_eq!(page.text(LABEL).await?, "Backend connected");
    assert_eq!(page.hue(LABEL).await?, Hue::Green);
    app.page().screenshot(&picture("connected")).await
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn shows_the_port_that_the_backend_answers_on() -> Result<()> {
    let app = launch().await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;

    let asked = page.invoke("get_backend_port", json!({})).await?;
    let shown: u16 = page.text(PORT).await?.parse()?;
    assert_eq!(asked, json!(shown));
    assert_eq!(health(shown).await?, json!({ "status": "ok" }), "a stranger is told no more");
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn closing_the_window_leaves_no_process() -> Result<()> {
    let app = launch().await?;
    app.page().wait_for_state(ShownState::Connected).await?;
    // Without the backend among them, the emptiness below would prove nothing.
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
async fn a_killed_backend_comes_back_in_the_same_page() -> Result<()> {
    let app = launch().await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;
    let first = backend(&app)?;
    // Lost by a reload, and told of every state that is shown, however briefly.
    page.execute(
        "window.seen = [];
        const status = document.querySelector('[data-testid=backend-status]');
        new MutationObserver(() => seen.push(status.dataset.state)).observe(status, { attributes: true });",
    )
    .await?;

    kill_and_await_the_next(&app).await?;
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
async fn a_backend_that_keeps_dying_is_shown_and_retried() -> Result<()> {
    let app = launch().await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;
    for _ in 0..RestartLimit::default().limit {
        kill_and_await_the_next(&app).await?;
    }

    let last = backend(&app)?;
    last.signal(Signal::KILL)?;
    page.wait_for_state(ShownState::Error).await?;
    assert_eq!(page.hue(LABEL).await?, Hue::Red);
    let reason = page.text(STATUS).await?;
    assert!(reason.contains("SIGKILL") && reason.contains("given up"), "no reason in words: {reason}");
    page.screenshot(&picture("error")).await?;

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
async fn a_developers_own_server_is_used_and_left_alone() -> Result<()> {
    let built = PathBuf::from(env::var_os("AIOS_APP").context("use `cargo xtask test`")?);
    // Stdin is no lifeline here: the server is to end when its developer says so.
    #[expect(clippy::disallowed_methods, reason = "it is killed when it is dropped")]
    let mut server = Command::new(built.with_file_name(BACKEND))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().context("its stdout is not piped")?).read_line(&mut line).await?;
    let port: u16 = line.trim_end().strip_prefix("BACKEND_PORT:").context("no announcement")?.parse()?;

    // The app isolated, as in a clone where no sidecar was built.
    let folder = tempfile::tempdir()?;
    fs::copy(&built, folder.path().join("aios"))?;
    let script = folder.path().join("with-port");
    fs::write(&script, format!("#!/bin/sh\nBACKEND_PORT={port} exec \"${{0%/*}}/aios\"\n"))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let app = App::launch(Driver::tauri(), &script).await?;
    app.page().wait_for_state(ShownState::Connected).await?;
    assert_eq!(app.page().text(PORT).await?, port.to_string());
    let left = app.close().await?;
    assert!(left.is_empty(), "these outlive the app: {left:?}");

    assert_eq!(health(port).await?["status"], "ok", "the server goes on without the app");
    server.kill().await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn a_rebuilt_backend_takes_over_and_one_that_does_not_work_does_not() -> Result<()> {
    let built = PathBuf::from(env::var_os("AIOS_APP").context("use `cargo xtask test`")?);
    let folder = tempfile::tempdir()?;
    let (program, next) = (folder.path().join(BACKEND), folder.path().join("next"));
    fs::copy(&built, folder.path().join("aios"))?;
    fs::copy(built.with_file_name(BACKEND), &program)?;
    let app = App::launch(Driver::tauri(), &folder.path().join("aios")).await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;
    page.execute("window.same = true").await?;
    let shell = |app: &App| {
        Ok::<_, anyhow::Error>(app.processes()?.into_iter().find(|p| p.runs("aios")).map(|p| p.pid))
    };
    let (shell_before, process) = (shell(&app)?, page.text(PROCESS).await?);

    // A build that does not work says when it was tried: nobody opens a pipe for nothing.
    let tried = folder.path().join("tried");
    mkfifoat(CWD, &tried, Mode::RUSR | Mode::WUSR)?;
    let script = format!("#!/bin/sh\necho tried > {}\nexit 3\n", tried.display());
    fs::write(&next, script)?;
    fs::set_permissions(&next, fs::Permissions::from_mode(0o755))?;
    fs::rename(&next, &program)?;
    assert_eq!(tokio::fs::read_to_string(&tried).await?, "tried\n");
    assert_eq!(page.text(PROCESS).await?, process, "the old one goes on");

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
        page.screenshot(&picture(&format!("{width}px"))).await?;
        let overflow = page.execute("return document.documentElement.scrollWidth - innerWidth").await?;
        assert_eq!(overflow, json!(0), "at {width} pixels the page is wider than its window");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app and a display: cargo xtask test"]
async fn the_page_may_do_nothing_that_it_need_not() -> Result<()> {
    let app = launch().await?;
    let page = app.page();

    // Commands that exist in every Tauri app, and those of our plugin that AIOS does not use.
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
