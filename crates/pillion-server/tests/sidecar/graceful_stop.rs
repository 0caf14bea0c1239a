//! The ways to stop a sidecar, and the events that must neither stop it nor delay the stop.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Stdio,
};

use libtest_mimic::Trial;
use rustix::{
    process::Signal,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use tokio::io::AsyncWriteExt;

use crate::{
    harness::{RunningSidecar, TestConnection, sidecar},
    test_sidecar::GRACE,
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        sigterm_and_sigint_let_a_request_finish,
        the_end_of_a_stdin_pipe_lets_a_request_finish,
        the_end_of_a_stdin_socket_stops_the_sidecar,
        signals_after_the_end_of_stdin_do_not_cut_the_stop_short,
        a_second_signal_ends_the_process_at_once,
        a_second_signal_ends_a_process_whose_runtime_hangs,
        dev_null_and_files_are_no_lifelines,
        a_terminal_is_no_lifeline,
        idle_connections_do_not_delay_the_stop,
        connections_are_cut_after_the_grace_period_with_a_warning,
        a_handler_is_told_of_the_stop,
        a_closed_stderr_does_not_disturb_the_stop,
    ]
}

/// Finishes the request in flight on a stopping sidecar, and asserts that the sidecar exits with 0.
async fn assert_finishes(running: RunningSidecar, mut connection: TestConnection) {
    running.refuses_connections().await;
    connection.send_other_half().await;
    let (code, stdout, _) = running.ended().await;
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
}

async fn sigterm_and_sigint_let_a_request_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let running = RunningSidecar::start(&mut sidecar()).await;
        let mut connection = running.connect().await;
        connection.send_half().await;
        running.signal(signal);
        assert_finishes(running, connection).await;
    }
}

async fn the_end_of_a_stdin_pipe_lets_a_request_finish() {
    let mut running = RunningSidecar::start(sidecar().stdin(Stdio::piped())).await;
    let mut connection = running.connect().await;
    connection.send_half().await;
    let mut stdin = running.stdin.take().unwrap();
    stdin.write_all(b"the sidecar ignores bytes on the lifeline\n").await.unwrap();
    drop(stdin);
    assert!(running.stderr_until("stopping").await.contains("the host closed stdin"));
    assert_finishes(running, connection).await;
}

async fn the_end_of_a_stdin_socket_stops_the_sidecar() {
    let (host, sidecars) = UnixStream::pair().unwrap();
    // Both holders of this end share the non-blocking flag, and a host may have set it.
    sidecars.set_nonblocking(true).unwrap();
    let running = RunningSidecar::start(sidecar().stdin(OwnedFd::from(sidecars))).await;
    assert_serves(&running).await;
    drop(host);
    let (code, _, stderr) = running.ended().await;
    assert_eq!(code, Some(0));
    assert!(stderr.contains("stopping: the host closed stdin"), "{stderr}");
    assert!(!stderr.contains("WARN"), "the sidecar waits for the end without an error: {stderr}");
}

async fn signals_after_the_end_of_stdin_do_not_cut_the_stop_short() {
    let mut running = RunningSidecar::start(sidecar().stdin(Stdio::piped())).await;
    let mut connection = running.connect().await;
    connection.send_half().await;
    drop(running.stdin.take());
    running.stderr_until("stopping").await;
    // One is the host's, the other that of a wrapper that passes it on.
    for signal in [Signal::TERM, Signal::TERM, Signal::INT] {
        running.signal(signal);
    }
    assert_finishes(running, connection).await;
}

async fn a_second_signal_ends_the_process_at_once() {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut running = RunningSidecar::start(&mut sidecar()).await;
        let mut connection = running.connect().await;
        connection.send_half().await;
        running.signal(Signal::TERM);
        running.stderr_until("stopping: SIGTERM").await;
        running.signal(second);
        assert_eq!(running.ended().await.0, Some(code));
    }
}

async fn a_second_signal_ends_a_process_whose_runtime_hangs() {
    let mut running = RunningSidecar::start(&mut sidecar()).await;
    let answer = running.request("POST /block", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.signal(Signal::INT);
    running.stderr_until("stopped").await;
    running.signal(Signal::INT);
    assert_eq!(running.ended().await.0, Some(130));
}

/// Asserts that the sidecar serves twenty requests.
async fn assert_serves(running: &RunningSidecar) {
    for _ in 0..20 {
        assert!(running.request("GET /health", &[]).await.contains("\"ok\""));
    }
}

/// Asserts that the sidecar serves until a signal stops it.
async fn assert_stops_by_signal_only(running: RunningSidecar) {
    assert_serves(&running).await;
    running.signal(Signal::TERM);
    let (code, _, stderr) = running.ended().await;
    assert_eq!(code, Some(0));
    assert!(stderr.contains("stopping: SIGTERM"), "{stderr}");
}

async fn dev_null_and_files_are_no_lifelines() {
    assert_stops_by_signal_only(RunningSidecar::start(sidecar().stdin(Stdio::null())).await).await;
    assert_stops_by_signal_only(RunningSidecar::start(sidecar().stdin(tempfile::tempfile().unwrap())).await)
        .await;
}

async fn a_terminal_is_no_lifeline() {
    let host = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&host).unwrap();
    unlockpt(&host).unwrap();
    let terminal = ptsname(&host, Vec::new()).unwrap().into_string().unwrap();
    let stdin = OpenOptions::new().read(true).write(true).open(terminal).unwrap();
    let running = RunningSidecar::start(sidecar().stdin(stdin)).await;
    // Ctrl-D: a reader of the terminal sees the end of the file.
    let mut host = File::from(host);
    host.write_all(b"\x04").unwrap();
    assert_stops_by_signal_only(running).await;
}

async fn idle_connections_do_not_delay_the_stop() {
    let running = RunningSidecar::start(&mut sidecar()).await;
    let mut silent = running.connect().await;
    let mut kept = running.connect().await;
    kept.send("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n").await;
    kept.receive("\"pillion_protocol\":\"1\"}").await;
    // The grace period is an hour: a stop that waits for it exceeds the time limit of the test.
    running.signal(Signal::TERM);
    let (code, _, stderr) = running.ended().await;
    assert_eq!(code, Some(0));
    assert!(!stderr.contains("WARN"), "{stderr}");
    assert_eq!((silent.rest().await, kept.rest().await), (String::new(), String::new()));
}

async fn connections_are_cut_after_the_grace_period_with_a_warning() {
    let running = RunningSidecar::start(sidecar().env(GRACE, "50")).await;
    let (mut one, mut two) = (running.connect().await, running.connect().await);
    one.send_half().await;
    two.send_half().await;
    running.signal(Signal::TERM);
    let (code, _, stderr) = running.ended().await;
    assert_eq!(code, Some(0));
    assert!(stderr.contains("WARN") && stderr.contains("dropped=2"), "{stderr}");
}

async fn a_handler_is_told_of_the_stop() {
    let running = RunningSidecar::start(&mut sidecar()).await;
    let mut connection = running.connect().await;
    connection
        .send(
            "POST /until-stop HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
        )
        .await;
    connection.receive("100 Continue").await;
    connection.send("x").await;
    running.signal(Signal::TERM);
    assert!(connection.rest().await.ends_with("the sidecar is stopping"));
    assert_eq!(running.ended().await.0, Some(0));
}

async fn a_closed_stderr_does_not_disturb_the_stop() {
    let mut running = RunningSidecar::start(sidecar().stdin(Stdio::piped()).env("RUST_LOG", "trace")).await;
    let mut connection = running.connect().await;
    connection.send_half().await;
    running.close_stderr();
    drop(running.stdin.take());
    assert_finishes(running, connection).await;
}
