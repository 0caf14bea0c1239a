//! The ways to stop, and what must not stop it or hold the stop up.

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
    program::GRACE,
    support::{Connection, Running, sidecar},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        each_signal_lets_a_request_finish,
        the_end_of_a_stdin_pipe_lets_a_request_finish,
        the_end_of_a_stdin_socket_stops,
        a_stop_by_stdin_and_signal_at_once_is_one_stop,
        a_second_signal_ends_it_at_once,
        a_second_signal_works_where_the_runtime_hangs,
        dev_null_and_files_are_no_lifeline,
        a_terminal_is_no_lifeline,
        idle_connections_do_not_delay_the_stop,
        the_deadline_cuts_what_is_left_and_says_so,
        a_handler_learns_of_the_stop,
        a_dead_host_that_hears_nothing_changes_nothing,
    ]
}

/// Finishes the request that is in flight on a sidecar that was asked to stop, and sees it end well.
async fn finishes_well(running: Running, mut connection: Connection) {
    running.refuses_connections().await;
    connection.send_other_half().await;
    let (code, stdout, _) = running.ended().await;
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
}

async fn each_signal_lets_a_request_finish() {
    for signal in [Signal::TERM, Signal::INT] {
        let running = Running::start(&mut sidecar()).await;
        let mut connection = running.connect().await;
        connection.send_half().await;
        running.signal(signal);
        finishes_well(running, connection).await;
    }
}

async fn the_end_of_a_stdin_pipe_lets_a_request_finish() {
    let mut running = Running::start(sidecar().stdin(Stdio::piped())).await;
    let mut connection = running.connect().await;
    connection.send_half().await;
    let mut stdin = running.stdin.take().unwrap();
    stdin.write_all(b"what is written to the lifeline is ignored\n").await.unwrap();
    drop(stdin);
    assert!(running.says("stopping").await.contains("the host closed stdin"));
    finishes_well(running, connection).await;
}

async fn the_end_of_a_stdin_socket_stops() {
    let (host, sidecars) = UnixStream::pair().unwrap();
    // Non-blocking is a property that both holders of this end share; a host may well have set it.
    sidecars.set_nonblocking(true).unwrap();
    let running = Running::start(sidecar().stdin(OwnedFd::from(sidecars))).await;
    serves_on(&running).await;
    drop(host);
    let (code, _, stderr) = running.ended().await;
    assert_eq!(code, Some(0));
    assert!(stderr.contains("stopping: the host closed stdin"), "{stderr}");
    assert!(!stderr.contains("WARN"), "the end was waited for: {stderr}");
}

async fn a_stop_by_stdin_and_signal_at_once_is_one_stop() {
    let mut running = Running::start(sidecar().stdin(Stdio::piped())).await;
    let mut connection = running.connect().await;
    connection.send_half().await;
    drop(running.stdin.take());
    running.says("stopping").await;
    running.signal(Signal::TERM);
    finishes_well(running, connection).await;
}

async fn a_second_signal_ends_it_at_once() {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut running = Running::start(&mut sidecar()).await;
        let mut connection = running.connect().await;
        connection.send_half().await;
        running.signal(Signal::TERM);
        running.says("stopping: SIGTERM").await;
        running.signal(second);
        assert_eq!(running.ended().await.0, Some(code));
    }
}

async fn a_second_signal_works_where_the_runtime_hangs() {
    let mut running = Running::start(&mut sidecar()).await;
    let answer = running.request("POST /block", &[]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.signal(Signal::INT);
    running.says("stopped").await;
    running.signal(Signal::INT);
    assert_eq!(running.ended().await.0, Some(130));
}

/// Shows that nothing has stopped the sidecar, over the time that twenty requests take.
async fn serves_on(running: &Running) {
    for _ in 0..20 {
        assert!(running.request("GET /health", &[]).await.contains("\"ok\""));
    }
}

/// Shows that the signal is the first thing that makes the sidecar stop.
async fn only_a_signal_stops(running: Running) {
    serves_on(&running).await;
    running.signal(Signal::TERM);
    let (code, _, stderr) = running.ended().await;
    assert_eq!(code, Some(0));
    assert!(stderr.contains("stopping: SIGTERM"), "{stderr}");
}

async fn dev_null_and_files_are_no_lifeline() {
    only_a_signal_stops(Running::start(sidecar().stdin(Stdio::null())).await).await;
    only_a_signal_stops(Running::start(sidecar().stdin(tempfile::tempfile().unwrap())).await).await;
}

async fn a_terminal_is_no_lifeline() {
    let host = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&host).unwrap();
    unlockpt(&host).unwrap();
    let terminal = ptsname(&host, Vec::new()).unwrap().into_string().unwrap();
    let stdin = OpenOptions::new().read(true).write(true).open(terminal).unwrap();
    let running = Running::start(sidecar().stdin(stdin)).await;
    // Ctrl-D, which a reader of the terminal takes for the end.
    let mut host = File::from(host);
    host.write_all(b"\x04").unwrap();
    only_a_signal_stops(running).await;
}

async fn idle_connections_do_not_delay_the_stop() {
    let running = Running::start(&mut sidecar()).await;
    let mut silent = running.connect().await;
    let mut kept = running.connect().await;
    kept.send("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n").await;
    kept.receive("\"version\":\"1.2.3\"}").await;
    // The grace period is an hour: a stop that waited for it would run into the test's limit.
    running.signal(Signal::TERM);
    let (code, _, stderr) = running.ended().await;
    assert_eq!(code, Some(0));
    assert!(!stderr.contains("WARN"), "{stderr}");
    assert_eq!((silent.rest().await, kept.rest().await), (String::new(), String::new()));
}

async fn the_deadline_cuts_what_is_left_and_says_so() {
    let running = Running::start(sidecar().env(GRACE, "50")).await;
    let (mut one, mut two) = (running.connect().await, running.connect().await);
    one.send_half().await;
    two.send_half().await;
    running.signal(Signal::TERM);
    let (code, _, stderr) = running.ended().await;
    assert_eq!(code, Some(0));
    assert!(stderr.contains("WARN") && stderr.contains("dropped=2"), "{stderr}");
}

async fn a_handler_learns_of_the_stop() {
    let running = Running::start(&mut sidecar()).await;
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

async fn a_dead_host_that_hears_nothing_changes_nothing() {
    let mut running = Running::start(sidecar().stdin(Stdio::piped()).env("RUST_LOG", "trace")).await;
    let mut connection = running.connect().await;
    connection.send_half().await;
    running.stop_listening();
    drop(running.stdin.take());
    finishes_well(running, connection).await;
}
