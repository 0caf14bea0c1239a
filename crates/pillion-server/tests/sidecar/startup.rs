//! The port, the announcement, and the errors that keep a sidecar from starting.

use std::{net::TcpListener, process::Stdio};

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::{
    harness::{RunningSidecar, fails_to_start, sidecar},
    test_sidecar,
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        stdout_carries_only_the_announcement,
        a_sidecar_without_a_log_serves_and_stops,
        an_invalid_port_is_an_error,
        a_taken_port_is_an_error_and_a_free_one_is_used,
        a_port_that_browsers_block_is_used_with_a_warning,
        nothing_listens_beyond_loopback,
        a_closed_stdout_is_an_error,
        a_router_with_its_own_health_route_is_an_error,
        an_origin_that_allows_every_page_is_an_error,
        an_invalid_nonce_is_an_error,
    ]
}

async fn stdout_carries_only_the_announcement() {
    let running = RunningSidecar::start(sidecar().env("RUST_LOG", "trace")).await;
    running.request("GET /health", &[]).await;
    running.signal(Signal::TERM);
    let (code, stdout, stderr) = running.ended().await;
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert!(stderr.contains("listening on http://127.0.0.1:"), "{stderr}");
    assert!(!stderr.contains('\x1b'), "no colours without a terminal: {stderr}");
}

async fn a_sidecar_without_a_log_serves_and_stops() {
    let running = RunningSidecar::start(sidecar().env("RUST_LOG", "off")).await;
    assert!(running.request("GET /health", &[]).await.starts_with("HTTP/1.1 200 "));
    running.signal(Signal::TERM);
    assert_eq!(running.ended().await, (Some(0), String::new(), String::new()));
}

async fn an_invalid_port_is_an_error() {
    for port in ["abc", "0"] {
        let (code, stdout, stderr) = fails_to_start(sidecar().env("PORT", port)).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "PORT={port}");
        assert!(stderr.starts_with(&format!("Error: PORT is {port:?}")), "{stderr}");
    }
}

async fn a_taken_port_is_an_error_and_a_free_one_is_used() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let (code, stdout, stderr) = fails_to_start(sidecar().env("PORT", port.to_string())).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains(&format!("port {port} of 127.0.0.1 is taken")), "{stderr}");
    drop(holder);
    assert_eq!(RunningSidecar::start(sidecar().env("PORT", port.to_string())).await.port, port);
}

async fn a_port_that_browsers_block_is_used_with_a_warning() {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = [6566, 6669, 6679, 6697, 10080].into_iter().find(free).unwrap();
    let mut running = RunningSidecar::start(sidecar().env("PORT", port.to_string())).await;
    assert_eq!(running.port, port);
    assert!(running.stderr_until("listening").await.contains("WARN"));
}

#[cfg(target_os = "linux")]
async fn nothing_listens_beyond_loopback() {
    let running = RunningSidecar::start(&mut sidecar()).await;
    // On Linux all of 127.0.0.0/8 is this machine: a wildcard listener would accept here too.
    let elsewhere = std::net::TcpStream::connect(("127.0.0.2", running.port));
    assert_eq!(elsewhere.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[cfg(not(target_os = "linux"))]
async fn nothing_listens_beyond_loopback() {
    let running = RunningSidecar::start(&mut sidecar()).await;
    // If the sidecar held the wildcard address, this bind would fail.
    drop(TcpListener::bind(("0.0.0.0", running.port)).unwrap());
}

async fn a_closed_stdout_is_an_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    // `Command::output` would replace stdout by its own pipe, so the test reads stderr to its end instead.
    let mut command = sidecar();
    let (mut stderr, stderr_writer) = std::io::pipe().unwrap();
    command.stdout(writer).stderr(stderr_writer);
    let status = command.status().await.unwrap();
    drop(command);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("cannot write the announcement to stdout: Broken pipe"), "{said}");
}

async fn a_router_with_its_own_health_route_is_an_error() {
    let (code, stdout, stderr) = fails_to_start(sidecar().env(test_sidecar::OWN_HEALTH, "1")).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("Error: the router has its own route for GET /health"), "{stderr}");
}

async fn an_origin_that_allows_every_page_is_an_error() {
    for origins in ["*", "tauri://localhost,null"] {
        let (code, stdout, stderr) = fails_to_start(sidecar().env("PILLION_ALLOWED_ORIGINS", origins)).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""));
        assert!(stderr.contains("which is not an origin"), "{stderr}");
    }
}

async fn an_invalid_nonce_is_an_error() {
    let (code, stdout, stderr) =
        fails_to_start(sidecar().env("PILLION_INSTANCE", "x").stdin(Stdio::piped())).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("PILLION_INSTANCE"), "{stderr}");
}
