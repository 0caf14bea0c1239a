//! The example backend in TypeScript on Node, under `pillion run` and with AIOS. `cargo xtask test` builds it and provides the
//! app.

#![cfg(target_os = "linux")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use end_to_end_tests::webview::{ShownState, launch_aios_with_node_backend};
use integration_tests::{ProcessTree, TestMarker, helper_program};
use pillion::{Restart, StopOutcome, Supervisor, Transport};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::Command,
};

fn server() -> Result<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hono-backend/dist/index.js");
    file.canonicalize().with_context(|| format!("{} is not built: use `cargo xtask test`", file.display()))
}

/// The version in its package.json. AIOS shows it.
fn version() -> Result<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hono-backend/package.json");
    let package: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
    Ok(package["version"].as_str().context("the package has no version")?.to_owned())
}

#[tokio::test]
#[ignore = "needs Node and the built example: cargo xtask test"]
async fn runs_under_pillion_run_and_stops_on_request() -> Result<()> {
    let tree = ProcessTree::new(helper_program("fake-sidecar")?);
    #[expect(clippy::disallowed_methods, reason = "the tree kills what remains")]
    let mut pillion = Command::new(helper_program("pillion-under-test")?)
        .args(["run", "--json", "--", "node"])
        .arg(server()?)
        .env(TestMarker::VARIABLE, tree.marker())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let pid = pillion.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)).context("it has ended")?;
    let mut lines = BufReader::new(pillion.stdout.take().context("its stdout is not piped")?).lines();
    let mut seen = Vec::new();
    while let Some(line) = lines.next_line().await? {
        let event: Value = serde_json::from_str(&line)?;
        if event["event"] != "state" || seen.last() == Some(&event["state"]) {
            continue;
        }
        if event["state"] == "ready" {
            // The supervisor believed the port because the answer contained the right instance.
            ensure!(event["port"].as_u64().is_some_and(|port| port > 0), "ready without a port: {line}");
            kill_process(pid, Signal::INT)?;
        }
        seen.push(event["state"].clone());
    }
    assert_eq!(seen, ["starting", "ready", "stopping", "stopped"]);
    assert_eq!(pillion.wait().await?.code(), Some(0));
    tree.assert_dead();
    Ok(())
}

#[tokio::test]
#[ignore = "needs Node and the built example: cargo xtask test"]
async fn keeps_its_port_across_a_crash() -> Result<()> {
    let tree = ProcessTree::new(helper_program("fake-sidecar")?);
    let spec = tree.spec(tree.program("node").arg(server()?).handover(true)).restart(Restart::OnFailure);
    let (supervisor, _events) = Supervisor::start(spec);
    let mut changes = supervisor.watch();
    let before = supervisor.ready().await?;
    let pid = before.pid.context("it runs")?;
    let sidecar = tree.alive().into_iter().find(|process| process.pid == pid).context("it lives")?;
    ensure!(closed_on_exec(pid, 3)?, "its children would hold the port open");
    sidecar.signal(Signal::KILL)?;
    while changes.next().await.context("it is supervised")?.pid == Some(pid) {}
    // Node needs longer than this to start: the connection waits in the queue.
    let port = before.port.context("it listens on a port")?;
    let mut request = TcpStream::connect(("127.0.0.1", port.get())).await?;
    request
        .write_all(
            format!("GET /health HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n\r\n").as_bytes(),
        )
        .await?;
    let mut answer = String::new();
    request.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let after = supervisor.ready().await?;
    assert_eq!(after.port, before.port);
    assert_ne!(after.pid, before.pid);
    let outcome = supervisor.stop().await;
    ensure!(matches!(outcome, StopOutcome::Graceful(exit) if exit.is_success()), "{outcome:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs Node and the built example: cargo xtask test"]
async fn answers_only_the_app() -> Result<()> {
    let tree = ProcessTree::new(helper_program("fake-sidecar")?);
    let (supervisor, _events) =
        Supervisor::start(tree.spec(tree.program("node").arg(server()?).private(true)));
    // It is ready: it has proved that it has the token.
    let endpoint = supervisor.ready().await?;
    assert_eq!(endpoint.version, Some(version()?), "a client with the token sees the version");
    let token = supervisor.access().await?.token.context("it is private")?;
    let bearer = format!("authorization: Bearer {}\r\n", token.reveal());
    let port = endpoint.port.context("it listens on a port")?;
    let (ours, page) = (format!("host: 127.0.0.1:{port}\r\n"), "origin: tauri://localhost\r\n");
    let asks = "access-control-request-method: PUT\r\naccess-control-request-headers: authorization\r\n";
    for (request, headers, status) in [
        ("GET /none", format!("{ours}{bearer}"), 404),
        ("GET /none", format!("{ours}{page}{bearer}"), 404),
        ("GET /none", format!("host: LOCALHOST:{port}\r\n{bearer}"), 404),
        ("GET /none", ours.clone(), 401),
        ("GET /none", format!("{ours}authorization: Bearer {}\r\n", "0".repeat(64)), 401),
        ("GET /none", format!("{ours}{bearer}{bearer}"), 401),
        ("GET /none?token", format!("{ours}upgrade: websocket\r\nconnection: upgrade\r\n"), 401),
        ("GET /health", ours.clone(), 200),
        ("GET //health", ours.clone(), 401),
        ("POST /health", format!("{ours}content-length: 0\r\n"), 401),
        ("GET /health", format!("host: rebound.example:{port}\r\n{bearer}"), 403),
        ("GET /health", format!("host: 127.0.0.1\r\n{bearer}"), 403),
        ("GET http://rebound.example/health", format!("{ours}{bearer}"), 403),
        ("GET /health", format!("{ours}{ours}{bearer}"), 400),
        ("GET /health", format!("{ours}origin: null\r\n{bearer}"), 403),
        ("GET /health", format!("{ours}{page}{page}{bearer}"), 403),
        ("OPTIONS /none", format!("{ours}{page}{asks}"), 204),
        ("OPTIONS /none", format!("{ours}origin: https://example.org\r\n{asks}"), 403),
        ("OPTIONS /none", format!("{ours}{page}"), 401),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port.get())).await?;
        let head = format!("{request} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}{answer}");
        let readable = answer.to_ascii_lowercase().contains("access-control-allow-origin: tauri://localhost");
        ensure!(readable == (headers.contains(page) && status != 403), "{head}{answer}");
    }
    let _ = supervisor.stop().await;
    Ok(())
}

#[tokio::test]
#[ignore = "needs Node and the built example: cargo xtask test"]
async fn works_without_a_port() -> Result<()> {
    let tree = ProcessTree::new(helper_program("fake-sidecar")?);
    let spec = tree.spec(tree.program("node").arg(server()?).private(true).transport(Transport::Local));
    let (supervisor, _events) = Supervisor::start(spec);
    assert_eq!(supervisor.ready().await?.port, None);
    let access = supervisor.access().await?;
    let token = access.token.as_ref().context("it is private")?.reveal();
    for (host, token, status) in [
        ("localhost", token, 404),
        ("LOCALHOST", token, 404),
        ("localhost", "none", 401),
        ("localhost:80", token, 403),
        ("127.0.0.1", token, 403),
        ("rebound.example", token, 403),
    ] {
        let mut stream = access.connect().await?;
        let head = format!(
            "GET /none HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
    let outcome = supervisor.stop().await;
    ensure!(matches!(outcome, StopOutcome::Graceful(exit) if exit.is_success()), "{outcome:?}");
    Ok(())
}

/// Whether a descriptor of a process is closed in its children (`O_CLOEXEC`, `proc_pid_fdinfo(5)`).
fn closed_on_exec(pid: u32, descriptor: u32) -> Result<bool> {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}"))?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).context("no flags")?;
    Ok(u32::from_str_radix(flags.trim(), 8)? & 0o2_000_000 != 0)
}

#[tokio::test]
#[ignore = "needs Node, the built app and a display: cargo xtask test"]
async fn runs_with_aios_and_ends_with_it() -> Result<()> {
    let (_folder, app) = launch_aios_with_node_backend(&server()?).await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;
    // Only the backend's answer to the page itself has the uptime.
    page.wait_for_change("[data-testid=backend-uptime]", "").await?;
    assert_eq!(page.text("[data-testid=backend-label]").await?, "Backend connected");
    assert_eq!(page.text("[data-testid=backend-version]").await?, version()?);
    assert!(app.processes()?.iter().any(|process| process.runs("node")));

    let left = app.close().await?;
    assert!(left.is_empty(), "these outlive the app: {left:?}");
    Ok(())
}
