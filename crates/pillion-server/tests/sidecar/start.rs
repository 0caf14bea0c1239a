//! Port, announcement, and the refusals that keep a sidecar from starting.

use std::{net::TcpListener, process::Stdio};

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::{
    program,
    support::{Running, refused, sidecar},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        stdout_carries_the_announcement_and_nothing_else,
        a_sidecar_whose_log_is_off_serves_until_it_is_asked_to_stop,
        a_port_that_is_none_is_refused_in_words,
        a_taken_port_is_refused_and_a_free_one_used,
        a_port_that_browsers_block_is_served_with_a_warning,
        nothing_listens_beyond_loopback,
        a_closed_stdout_is_an_error_on_stderr,
        a_health_route_of_the_routers_own_is_refused,
        an_origin_that_lets_everyone_in_is_refused,
        a_nonce_that_is_none_is_refused,
    ]
}

async fn stdout_carries_the_announcement_and_nothing_else() {
    let running = Running::start(sidecar().env("RUST_LOG", "trace")).await;
    running.request("GET /health", &[]).await;
    running.signal(Signal::TERM);
    let (code, stdout, stderr) = running.ended().await;
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert!(stderr.contains("listening on http://127.0.0.1:"), "{stderr}");
    assert!(!stderr.contains('\x1b'), "no colours off a terminal: {stderr}");
}

async fn a_sidecar_whose_log_is_off_serves_until_it_is_asked_to_stop() {
    let running = Running::start(sidecar().env("RUST_LOG", "off")).await;
    assert!(running.request("GET /health", &[]).await.starts_with("HTTP/1.1 200 "));
    running.signal(Signal::TERM);
    assert_eq!(running.ended().await, (Some(0), String::new(), String::new()));
}

async fn a_port_that_is_none_is_refused_in_words() {
    for port in ["abc", "70000", "-1", "0", "+80"] {
        let (code, stdout, stderr) = refused(sidecar().env("PORT", port)).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "PORT={port}");
        assert!(stderr.starts_with(&format!("Error: PORT is {port:?}")), "{stderr}");
    }
}

async fn a_taken_port_is_refused_and_a_free_one_used() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let (code, stdout, stderr) = refused(sidecar().env("PORT", port.to_string())).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains(&format!("port {port} of 127.0.0.1 is taken")), "{stderr}");
    drop(holder);
    assert_eq!(Running::start(sidecar().env("PORT", port.to_string())).await.port, port);
}

async fn a_port_that_browsers_block_is_served_with_a_warning() {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = [6566, 6669, 6679, 6697, 10080].into_iter().find(free).unwrap();
    let mut running = Running::start(sidecar().env("PORT", port.to_string())).await;
    assert_eq!(running.port, port);
    assert!(running.says("listening").await.contains("WARN"));
}

#[cfg(target_os = "linux")]
async fn nothing_listens_beyond_loopback() {
    let running = Running::start(&mut sidecar()).await;
    // All of 127.0.0.0/8 is this machine on Linux; a wildcard listener would answer here too.
    let elsewhere = std::net::TcpStream::connect(("127.0.0.2", running.port));
    assert_eq!(elsewhere.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
}

#[cfg(not(target_os = "linux"))]
async fn nothing_listens_beyond_loopback() {
    let running = Running::start(&mut sidecar()).await;
    // Where the sidecar held the wildcard address, this would be refused as taken.
    drop(TcpListener::bind(("0.0.0.0", running.port)).unwrap());
}

async fn a_closed_stdout_is_an_error_on_stderr() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    // `output` would set up a pipe of its own, so the child is waited for by the end of its stderr.
    let mut command = sidecar();
    let (mut stderr, stderr_writer) = std::io::pipe().unwrap();
    command.stdout(writer).stderr(stderr_writer);
    let status = command.status().await.unwrap();
    drop(command);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("cannot announce itself on stdout: Broken pipe"), "{said}");
}

async fn a_health_route_of_the_routers_own_is_refused() {
    let (code, stdout, stderr) = refused(sidecar().env(program::OWN_HEALTH, "1")).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("Error: the router has its own route for GET /health"), "{stderr}");
}

async fn an_origin_that_lets_everyone_in_is_refused() {
    for origins in ["*", "tauri://localhost,null"] {
        let (code, stdout, stderr) = refused(sidecar().env("PILLION_ALLOWED_ORIGINS", origins)).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""));
        assert!(stderr.contains("which is no origin"), "{stderr}");
    }
}

async fn a_nonce_that_is_none_is_refused() {
    let (code, stdout, stderr) = refused(sidecar().env("PILLION_INSTANCE", "x").stdin(Stdio::piped())).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("PILLION_INSTANCE"), "{stderr}");
}
