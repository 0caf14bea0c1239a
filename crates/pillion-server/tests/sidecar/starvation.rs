//! Clients without the token cannot take the connections of clients with it, and early answers reach their clients.

use std::{
    collections::VecDeque,
    env,
    net::SocketAddr,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use pillion::{Liveness, Program, Spec, State, Supervisor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{JoinSet, yield_now},
};

use crate::{
    harness::{RunningSidecar, TestConnection, block_on_within, sidecar, sidecar_with_descriptors},
    test_sidecar::{ARGUMENT, LIMITS},
    token::TOKEN,
};

pub(crate) fn trials() -> Vec<Trial> {
    let mut all = trials![
        silent_connections_do_not_keep_out_the_app,
        silent_connections_do_not_keep_out_the_app_where_few_files_may_be_open,
        refused_requests_do_not_keep_out_the_app,
        a_refusal_closes_a_connection_without_the_token,
        a_connection_that_shows_no_token_in_time_is_closed,
        a_connection_that_has_shown_the_token_outlives_that_limit,
        a_client_without_the_token_that_does_not_read_is_cut,
        an_early_answer_reaches_a_client_that_sends_its_whole_body_first,
        the_503_reaches_a_client_that_sends_its_whole_body_first,
        a_client_that_half_closes_at_once_gets_its_answer,
        the_handler_of_a_client_that_is_gone_is_dropped,
        a_starved_private_sidecar_is_not_restarted,
        health_requests_on_new_connections_are_not_left_unanswered_in_a_storm,
    ];
    let name = concat!(module_path!(), "::a_quarter_of_an_hour_of_starvation_restarts_nothing");
    let soak = Trial::test(name, || {
        block_on_within(2 * SOAK, a_quarter_of_an_hour_of_starvation_restarts_nothing());
        Ok(())
    });
    all.push(soak.with_ignored_flag(true));
    all
}

/// More connections than the sidecar serves and rejects at the same time.
const HELD: usize = 256 + 64 + 30;
/// How often the test opens a new connection for the app while others hold theirs.
const ROUNDS: usize = 8;
/// The duration of the soak.
const SOAK: Duration = Duration::from_secs(15 * 60);

async fn private(limits: &str) -> RunningSidecar {
    RunningSidecar::start(sidecar().env("PILLION_TOKEN", TOKEN).env(LIMITS, limits)).await
}

fn with_token(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {{host}}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
}

async fn assert_served(connection: &mut TestConnection) {
    connection.send(with_token("GET /hits")).await;
    assert!(connection.receive("\r\n\r\n0").await.starts_with("HTTP/1.1 200 "));
}

/// Others hold as many connections as they can, send `request` on each, and replace all of them in each round. Connections of
/// the app, kept and new ones, are served all the time.
async fn assert_app_is_served_beside(request: &str) {
    // A minute without a token is longer than the test: only eviction makes room.
    assert_is_served_beside(&private("first_token_ms 60000").await, request).await;
}

async fn assert_is_served_beside(running: &RunningSidecar, request: &str) {
    let mut kept = running.connect().await;
    assert_served(&mut kept).await;
    let mut held = VecDeque::new();
    for _ in 0..ROUNDS {
        for _ in 0..HELD {
            let mut other = running.connect().await;
            other.try_send(request).await;
            held.push_back(other);
            if held.len() > HELD {
                held.pop_front();
            }
        }
        assert_served(&mut kept).await;
        assert_served(&mut running.connect().await).await;
    }
}

async fn silent_connections_do_not_keep_out_the_app() {
    assert_app_is_served_beside("").await;
}

async fn silent_connections_do_not_keep_out_the_app_where_few_files_may_be_open() {
    let mut few = sidecar_with_descriptors(100);
    let running =
        RunningSidecar::start(few.env("PILLION_TOKEN", TOKEN).env(LIMITS, "first_token_ms 60000")).await;
    assert_is_served_beside(&running, "").await;
}

async fn refused_requests_do_not_keep_out_the_app() {
    assert_app_is_served_beside("GET /headers HTTP/1.1\r\nHost: {host}\r\n\r\n").await;
    assert_app_is_served_beside("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n").await;
}

async fn a_refusal_closes_a_connection_without_the_token() {
    let running = private("first_token_ms 60000").await;
    for (request, status) in [
        ("GET /headers HTTP/1.1\r\nHost: {host}\r\n\r\n", "401"),
        ("GET /headers HTTP/1.1\r\nHost: {host}\r\nOrigin: https://evil.example\r\n\r\n", "403"),
        ("GET /headers HTTP/1.1\r\nHost: evil.example\r\n\r\n", "403"),
        ("GET /headers HTTP/1.1\r\n\r\n", "400"),
    ] {
        let mut connection = running.connect().await;
        connection.send(format!("{request}{request}")).await;
        let answer = connection.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "the second request is not answered: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
    }
}

async fn a_connection_that_shows_no_token_in_time_is_closed() {
    let running = private("first_token_ms 50").await;
    let mut silent = running.connect().await;
    assert_eq!(silent.rest().await, "");
    // A health request does not need the token, and does not prove that the client has it.
    let mut stranger = running.connect().await;
    stranger.send("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n").await;
    assert!(stranger.rest().await.ends_with(r#"{"status":"ok"}"#));
}

async fn a_connection_that_has_shown_the_token_outlives_that_limit() {
    let running = private("first_token_ms 500").await;
    let mut app = running.connect().await;
    assert_served(&mut app).await;
    // This connection starts later, and the sidecar closes it at its limit: then the limit of the first one is over too.
    assert_eq!(running.connect().await.rest().await, "");
    assert_served(&mut app).await;
}

async fn a_client_without_the_token_that_does_not_read_is_cut() {
    let request = "GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".repeat(1000);
    let running = private("first_token_ms 200").await;
    running.connect().await.send_until_cut(&request).await;
    // A sidecar without a token serves these requests, and still does not wait for ever.
    let running = RunningSidecar::start(sidecar().env(LIMITS, "write_ms 200")).await;
    running.connect().await.send_until_cut(&request).await;
}

async fn an_early_answer_reaches_a_client_that_sends_its_whole_body_first() {
    let running = private("body 1000").await;
    let body = "x".repeat(8 << 20);
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for (path, headers, status) in [
        ("/echo", bearer.as_str(), "413"),
        ("/echo", "", "401"),
        ("/echo", "Origin: https://evil.example\r\n", "403"),
    ] {
        let mut connection = running.connect().await;
        let length = format!("Content-Length: {}\r\n", body.len());
        connection.send(format!("POST {path} HTTP/1.1\r\nHost: {{host}}\r\n{headers}{length}\r\n")).await;
        connection.send(&body).await;
        let answer = connection.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    // A handler that answers without reading the body.
    let running = private("").await;
    let mut connection = running.connect().await;
    let length = format!("Content-Length: {}\r\n", body.len());
    connection.send(format!("POST /nowhere HTTP/1.1\r\nHost: {{host}}\r\n{bearer}{length}\r\n")).await;
    connection.send(&body).await;
    let answer = connection.rest().await;
    assert!(answer.starts_with("HTTP/1.1 418 ") && answer.ends_with("own fallback"), "{answer}");
}

async fn the_503_reaches_a_client_that_sends_its_whole_body_first() {
    let running = RunningSidecar::start(sidecar().env(LIMITS, "connections 1")).await;
    let mut only = running.connect().await;
    only.send_half().await;
    let mut further = running.connect().await;
    let body = "x".repeat(8 << 20);
    further
        .send(format!("POST /echo HTTP/1.1\r\nHost: {{host}}\r\nContent-Length: {}\r\n\r\n", body.len()))
        .await;
    further.send(&body).await;
    let answer = further.rest().await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("too many connections\n"), "{answer}");
}

async fn a_client_that_half_closes_at_once_gets_its_answer() {
    let running = private("abandoned_ms 60000").await;
    for _ in 0..20 {
        let mut connection = running.connect().await;
        // The handler starts a process, so the client's side is closed long before the answer.
        connection.send(with_token("GET /child")).await;
        connection.finish_sending().await;
        let answer = connection.rest().await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("PATH="), "{answer}");
    }
}

async fn the_handler_of_a_client_that_is_gone_is_dropped() {
    let running = private("abandoned_ms 50").await;
    let mut connection = running.connect().await;
    connection.send(with_token("GET /never")).await;
    connection.finish_sending().await;
    assert_eq!(connection.rest().await, "");
}

/// Others open connections as fast as they can, and hold as many as the sidecar lets them. Each health request on a new connection,
/// as the supervisor sends it, is answered, or at least its connection is closed: for the supervisor both are signs of life.
async fn health_requests_on_new_connections_are_not_left_unanswered_in_a_storm() {
    const STORMS: usize = 8;
    const PROBES: usize = 100;
    // Only eviction makes room.
    let running = private("first_token_ms 60000").await;
    let addr = SocketAddr::from(([127, 0, 0, 1], running.port));
    let mut storms = JoinSet::new();
    for _ in 0..STORMS {
        storms.spawn(async move {
            let mut held = VecDeque::new();
            loop {
                held.push_back(connect(addr).await);
                if held.len() > HELD / STORMS {
                    held.pop_front();
                }
            }
        });
    }
    let mut answered = 0;
    for _ in 0..PROBES {
        let request = format!("GET /health HTTP/1.1\r\nHost: {addr}\r\n");
        let requests = [
            format!("{request}Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"),
            format!("{request}Connection: close\r\n\r\n"),
        ];
        for request in requests {
            let (mut probe, mut answer) = (connect(addr).await, String::new());
            // An evicted connection ends, possibly with a reset.
            if probe.write_all(request.as_bytes()).await.is_ok() {
                let _ = probe.read_to_string(&mut answer).await;
            }
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 200 "), "{answer}");
            answered += usize::from(!answer.is_empty());
        }
    }
    storms.shutdown().await;
    assert_ne!(answered, 0, "each of {} connections was closed", 2 * PROBES);
}

/// Connects, even if all local ports are taken for the moment.
async fn connect(addr: SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(addr).await {
            Ok(connection) => return connection,
            Err(_) => yield_now().await,
        }
    }
}

/// Others hold their connections to a supervised sidecar, until `done`: the app's own requests are answered, and the supervisor
/// restarts nothing. Every second connection sends a request that the sidecar refuses.
async fn assert_not_restarted(liveness: Option<Liveness>, done: impl Fn(usize) -> bool) {
    let program = Program::new(env::current_exe().unwrap()).arg(ARGUMENT).private(true);
    let mut spec = Spec::run("starved", program);
    if let Some(liveness) = liveness {
        spec = spec.liveness(liveness);
    }
    let (supervisor, _events) = Supervisor::start(spec);
    let port = supervisor.ready().await.unwrap().port.unwrap();
    let token = supervisor.access().await.unwrap().token.unwrap();
    let (pid, addr) = (supervisor.status().pid, SocketAddr::from(([127, 0, 0, 1], port.get())));
    let mut held = VecDeque::new();
    let mut round = 0;
    while !done(round) {
        for number in 0..HELD {
            let mut other = TcpStream::connect(addr).await.unwrap();
            if number % 2 == 0 {
                // The sidecar may already have evicted the connection.
                let _ = other.write_all(format!("GET / HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes()).await;
            }
            held.push_back(other);
            if held.len() > HELD {
                held.pop_front();
            }
        }
        let mut app = TcpStream::connect(addr).await.unwrap();
        let headers =
            format!("Host: {addr}\r\nAuthorization: Bearer {}\r\nConnection: close", token.reveal());
        app.write_all(format!("GET /hits HTTP/1.1\r\n{headers}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        app.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "round {round}: {answer}");
        round += 1;
    }
    let status = supervisor.status();
    assert_eq!((status.state, status.pid, status.restarts), (State::Ready, pid, 0));
    let _ = supervisor.stop().await;
}

async fn a_starved_private_sidecar_is_not_restarted() {
    let liveness = Liveness::new(Duration::from_secs(1), 60);
    assert_not_restarted(Some(liveness), |round| round == ROUNDS).await;
}

/// Takes 15 minutes, with the default liveness check. Run it with `--ignored`.
async fn a_quarter_of_an_hour_of_starvation_restarts_nothing() {
    let start = Instant::now();
    assert_not_restarted(None, |_| start.elapsed() > SOAK).await;
}
