//! How much a client may ask, and what it is told beyond that.

use libtest_mimic::Trial;

use crate::{
    program::LIMITS,
    support::{Running, sidecar},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        a_head_that_is_too_long_is_431,
        too_many_headers_are_431,
        a_head_that_does_not_come_is_not_waited_for,
        a_connection_that_is_idle_is_closed,
        a_body_that_is_too_long_is_413_for_extractors_and_streams,
        a_body_that_does_not_say_its_length_is_cut_where_it_is_too_long,
        a_body_within_the_limit_is_read_beyond_two_megabytes,
        one_connection_too_many_is_503_and_the_next_free_one_is_served,
        a_handler_that_does_not_answer_is_503,
    ]
}

async fn limited(limits: &str) -> Running {
    Running::start(sidecar().env(LIMITS, limits)).await
}

async fn a_head_that_is_too_long_is_431() {
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

async fn too_many_headers_are_431() {
    let running = limited("").await;
    let mut connection = running.connect().await;
    let many = "X: y\r\n".repeat(100);
    connection.send(format!("GET / HTTP/1.1\r\nHost: {{host}}\r\n{many}\r\n")).await;
    assert!(connection.head().await.starts_with("HTTP/1.1 431 "));
}

async fn a_head_that_does_not_come_is_not_waited_for() {
    let running = limited("head_ms 50").await;
    for start in ["", "GET / HTT", "GET / HTTP/1.1\r\nHost: {host}\r\nX:"] {
        let mut connection = running.connect().await;
        connection.send(start).await;
        assert_eq!(connection.head().await, "", "closed after {start:?}");
    }
}

async fn a_connection_that_is_idle_is_closed() {
    let running = limited("head_ms 50").await;
    let mut connection = running.connect().await;
    connection.send("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n").await;
    assert!(connection.rest().await.starts_with("HTTP/1.1 200 "));
}

async fn a_body_that_is_too_long_is_413_for_extractors_and_streams() {
    let running = limited("body 10").await;
    for path in ["/echo", "/length", "/nowhere"] {
        let mut connection = running.connect().await;
        // The answer does not wait for the body.
        connection.send(format!("POST {path} HTTP/1.1\r\nHost: {{host}}\r\nOrigin: tauri://localhost\r\nContent-Length: 11\r\n\r\n")).await;
        let answer = connection.head().await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("access-control-allow-origin: tauri://localhost\r\n"), "{answer}");
    }
    let answer = running.request("POST /length", &["Content-Length: 10", "", "0123456789"]).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n10"), "{answer}");
}

async fn a_body_that_does_not_say_its_length_is_cut_where_it_is_too_long() {
    let running = limited("body 10").await;
    let mut connection = running.connect().await;
    let head = "HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.send(format!("POST /length {head}b\r\n01234567890\r\n0\r\n\r\n")).await;
    assert!(connection.head().await.starts_with("HTTP/1.1 413 "));
    let mut connection = running.connect().await;
    connection.send(format!("POST /echo {head}5\r\n01234\r\n6\r\n567890\r\n0\r\n\r\n")).await;
    let answer = connection.rest().await;
    assert!(!answer.contains("567890") && !answer.ends_with("0\r\n\r\n"), "broken off: {answer}");
}

async fn a_body_within_the_limit_is_read_beyond_two_megabytes() {
    let running = limited("").await;
    let mut connection = running.connect().await;
    let body = "x".repeat(3 << 20);
    let head = format!("POST /length HTTP/1.1\r\nHost: {{host}}\r\nContent-Length: {}\r\n\r\n", body.len());
    connection.send(format!("{head}{body}")).await;
    connection.receive(&body.len().to_string()).await;
}

async fn one_connection_too_many_is_503_and_the_next_free_one_is_served() {
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
    // The sidecar sees the end of the first one at some time, and serves again from then on.
    loop {
        let answer = running.request("GET /health", &[]).await;
        if answer.starts_with("HTTP/1.1 200 ") {
            break;
        }
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    two.send("other").await;
}

async fn a_handler_that_does_not_answer_is_503() {
    let running = limited("answer_ms 50").await;
    let answer = running.request("GET /never", &["Origin: tauri://localhost"]).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("no answer within 50ms"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: tauri://localhost\r\n"), "{answer}");
    assert!(running.request("GET /events", &[]).await.ends_with("data: 1\n\n"));
}
