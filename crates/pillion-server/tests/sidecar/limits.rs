//! The limits on clients, and the answers beyond them.

use libtest_mimic::Trial;

use crate::{
    harness::{RunningSidecar, sidecar},
    test_sidecar::LIMITS,
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        an_over_long_head_is_answered_with_431,
        too_many_headers_are_answered_with_431,
        a_connection_without_a_complete_head_is_closed,
        an_idle_connection_is_closed,
        an_over_long_body_is_answered_with_413,
        an_over_long_chunked_body_fails_at_the_limit,
        a_body_beyond_axums_own_limit_is_read,
        a_connection_beyond_the_limit_is_answered_with_503,
        a_handler_beyond_its_time_limit_is_answered_with_503,
    ]
}

async fn limited(limits: &str) -> RunningSidecar {
    RunningSidecar::start(sidecar().env(LIMITS, limits)).await
}

async fn an_over_long_head_is_answered_with_431() {
    let running = limited("").await;
    for long in [
        format!("GET /{} HTTP/1.1\r\nHost: {{host}}\r\n", "x".repeat(60 << 10)),
        String::from("GET / HTTP/1.1\r\n"),
    ] {
        let mut connection = running.connect().await;
        connection.send(format!("{long}X: {}\r\n\r\n", "x".repeat(65 << 10))).await;
        let answer = connection.head().await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

async fn too_many_headers_are_answered_with_431() {
    let running = limited("").await;
    let mut connection = running.connect().await;
    let many = "X: y\r\n".repeat(100);
    connection.send(format!("GET / HTTP/1.1\r\nHost: {{host}}\r\n{many}\r\n")).await;
    assert!(connection.head().await.starts_with("HTTP/1.1 431 "));
}

async fn a_connection_without_a_complete_head_is_closed() {
    let running = limited("head_ms 50").await;
    for start in ["", "GET / HTT", "GET / HTTP/1.1\r\nHost: {host}\r\nX:"] {
        let mut connection = running.connect().await;
        connection.send(start).await;
        assert_eq!(connection.head().await, "", "the connection is closed after {start:?}");
    }
}

async fn an_idle_connection_is_closed() {
    // Long enough for the head of the first request, even on a busy machine.
    let running = limited("head_ms 3000").await;
    let mut connection = running.connect().await;
    connection.send("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n").await;
    assert!(connection.rest().await.starts_with("HTTP/1.1 200 "));
}

async fn an_over_long_body_is_answered_with_413() {
    let running = limited("body 10").await;
    for path in ["/echo", "/length", "/nowhere"] {
        let mut connection = running.connect().await;
        // The sidecar answers before the body arrives.
        connection.send(format!("POST {path} HTTP/1.1\r\nHost: {{host}}\r\nOrigin: tauri://localhost\r\nContent-Length: 11\r\n\r\n")).await;
        let answer = connection.head().await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("access-control-allow-origin: tauri://localhost\r\n"), "{answer}");
    }
    let answer = running.request("POST /length", &["Content-Length: 10", "", "0123456789"]).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n10"), "{answer}");
}

async fn an_over_long_chunked_body_fails_at_the_limit() {
    let running = limited("body 10").await;
    let mut connection = running.connect().await;
    let head = "HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.send(format!("POST /length {head}b\r\n01234567890\r\n0\r\n\r\n")).await;
    assert!(connection.head().await.starts_with("HTTP/1.1 413 "));
    let mut connection = running.connect().await;
    connection.send(format!("POST /echo {head}5\r\n01234\r\n6\r\n567890\r\n0\r\n\r\n")).await;
    let answer = connection.rest().await;
    assert!(!answer.contains("567890") && !answer.ends_with("0\r\n\r\n"), "the answer breaks off: {answer}");
}

async fn a_body_beyond_axums_own_limit_is_read() {
    let running = limited("").await;
    let mut connection = running.connect().await;
    let body = "x".repeat(3 << 20);
    let head = format!("POST /length HTTP/1.1\r\nHost: {{host}}\r\nContent-Length: {}\r\n\r\n", body.len());
    connection.send(format!("{head}{body}")).await;
    connection.receive(&body.len().to_string()).await;
}

async fn a_connection_beyond_the_limit_is_answered_with_503() {
    let running = limited("connections 2").await;
    let (mut one, mut two) = (running.connect().await, running.connect().await);
    for held in [&mut one, &mut two] {
        held.send_half().await;
    }
    let mut third = running.connect().await;
    third.send("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n").await;
    let answer = third.rest().await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("too many connections"), "{answer}");
    drop(one);
    // The sidecar notices the end of the first connection at some point, and serves new ones from then on.
    loop {
        let answer = running.request("GET /health", &[]).await;
        if answer.starts_with("HTTP/1.1 200 ") {
            break;
        }
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    two.send("other").await;
}

async fn a_handler_beyond_its_time_limit_is_answered_with_503() {
    let running = limited("response_ms 50").await;
    let answer = running.request("GET /never", &["Origin: tauri://localhost"]).await;
    assert!(
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("did not respond within 50ms"),
        "{answer}"
    );
    assert!(answer.contains("access-control-allow-origin: tauri://localhost\r\n"), "{answer}");
    assert!(running.request("GET /events", &[]).await.ends_with("data: 1\n\n"));
}
