//! Probes of servers that may not be the started sidecar: what they are asked, and that they never receive the token.

use std::num::NonZeroU16;

use pillion_protocol::ListenAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use hyper::StatusCode;

/// A probe of a server on `port` that should hold this token.
fn probe(port: u16, token: &Token) -> Probe {
    let connector = Connector::Tcp(NonZeroU16::new(port).unwrap());
    Probe {
        sidecar: "api".to_owned(),
        connector,
        kind: ProbeKind::Health { path: "/health".to_owned() },
        instance: None,
        token: Some(token.clone()),
        run: None,
        needs_report: false,
    }
}

fn token(byte: u8) -> Token {
    Token::from_bytes(&[byte; 32])
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn ok(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// Answers each request of one connection with `answer(head)`. Returns all that it received once the connection is closed.
async fn server(listener: &TcpListener, mut answer: impl FnMut(&str) -> String) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut received, mut answered) = (String::new(), 0);
    loop {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return received;
        }
        received.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        while let Some(end) = received[answered..].find("\r\n\r\n") {
            let said = answer(&received[answered..answered + end]);
            stream.write_all(said.as_bytes()).await.unwrap();
            answered += end + 4;
        }
    }
}

/// The proof of `token` on `port` for the challenge in `head`.
fn proof(token: &Token, port: u16, head: &str) -> String {
    let challenge = head.lines().find_map(|line| line.strip_prefix("pillion-challenge: ")).unwrap();
    let challenge = Challenge::read(challenge.as_bytes()).unwrap();
    format!("pillion-proof: {}\r\n", token.prove(ListenAddr::Tcp(NonZeroU16::new(port).unwrap()), challenge))
}

#[tokio::test]
async fn a_server_that_proves_the_token_receives_it_on_the_same_connection() {
    let (listener, port) = listen().await;
    let token = token(1);
    let bearer = format!("authorization: Bearer {}", token.reveal());
    let server = server(&listener, |head| {
        if head.contains(&bearer) {
            ok("", r#"{"version":"1.2.3"}"#)
        } else {
            ok(&proof(&token, port, head), "{}")
        }
    });
    let probe = probe(port, &token);
    let (answer, received) = tokio::join!(probe.attempt(0), server);
    assert_eq!(answer.unwrap().version.as_deref(), Some("1.2.3"));
    let (first, second) = received.split_once("\r\n\r\n").unwrap();
    assert!(first.contains("pillion-challenge: ") && !first.contains("authorization"), "{first}");
    assert!(second.contains(&bearer) && !second.contains("pillion-challenge"), "{second}");
}

#[tokio::test]
async fn a_server_without_the_proof_is_rejected_and_receives_no_token() {
    let (listener, port) = listen().await;
    let (old, token, other) = (token(1), token(2), token(3));
    let mut received_before = String::new();
    for squatter in ["silent", "empty", "old token", "other token", "other port", "echo", "replay"] {
        let head_of_another_attempt = received_before.clone();
        let server = server(&listener, |head| {
            let proof = match squatter {
                "silent" => String::new(),
                "empty" => "pillion-proof: \r\n".to_owned(),
                // A backend of an earlier run still holds the port.
                "old token" => proof(&old, port, head),
                "other token" => proof(&other, port, head),
                // It asked the real sidecar, which listens on another port.
                "other port" => proof(&token, port ^ 1, head),
                "echo" => head.lines().last().unwrap().replace("challenge", "proof") + "\r\n",
                "replay" => proof(&token, port, &head_of_another_attempt),
                _ => unreachable!(),
            };
            ok(&proof, r#"{"status":"ok","version":"6.6.6"}"#)
        });
        let probe = probe(port, &token);
        let (answer, received) = tokio::join!(probe.attempt(0), server);
        assert_eq!(answer, Err(NotReady::Unproved), "{squatter}");
        assert!(
            !received.contains(token.reveal()) && !received.contains("authorization"),
            "{squatter}: {received}"
        );
        assert_eq!(received.matches("\r\n\r\n").count(), 1, "{squatter} was asked once: {received}");
        received_before = received;
    }
}

#[tokio::test]
async fn a_proof_with_connection_close_is_enough() {
    let (listener, port) = listen().await;
    let token = token(1);
    let server = server(&listener, |head| ok(&(proof(&token, port, head) + "connection: close\r\n"), ""));
    let probe = probe(port, &token);
    let (answer, received) = tokio::join!(probe.attempt(0), server);
    assert_eq!(answer, Ok(HealthReport::default()));
    assert!(!received.contains(token.reveal()), "{received}");
}

#[tokio::test]
async fn an_error_status_means_not_ready_despite_the_proof() {
    let (listener, port) = listen().await;
    let token = token(1);
    let refuses = |status: &str| format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
    for (first, status) in [(true, StatusCode::SERVICE_UNAVAILABLE), (false, StatusCode::UNAUTHORIZED)] {
        let server = server(&listener, |head| match head.contains("pillion-challenge") {
            true if first => refuses("503"),
            true => ok(&proof(&token, port, head), ""),
            false => refuses("401"),
        });
        let probe = probe(port, &token);
        let (answer, _) = tokio::join!(probe.attempt(0), server);
        assert!(matches!(&answer, Err(NotReady::Status(it)) if it.status == status), "{answer:?}");
    }
}

#[test]
fn a_probe_does_not_print_its_token() {
    let token = token(7);
    assert!(!format!("{:?}", probe(1, &token)).contains(token.reveal()));
}

/// A probe without a token of a server on `port`.
fn plain(port: u16) -> Probe {
    Probe { token: None, ..probe(port, &token(0)) }
}

/// What a probe says of a server that reads the request, sends `answer` again and again `repeats` times, and keeps the connection
/// open until the probe hangs up.
async fn probe_of(answer: &[u8], repeats: usize) -> (Result<HealthReport, NotReady>, usize) {
    let (listener, port) = listen().await;
    let probe = plain(port);
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let mut sent = 0;
        for _ in 0..repeats {
            match stream.write(answer).await {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        let _ = stream.read_to_end(&mut head).await;
        sent
    };
    tokio::join!(probe.ask(), server)
}

#[tokio::test]
async fn a_2xx_status_is_healthy_whatever_follows_it() {
    let many = (0..150).fold(String::new(), |headers, number| headers + &format!("x-{number}: y\r\n"));
    for answer in [
        "HTTP/1.0 200 OK\r\n\r\n{}".to_owned(),
        // No length, and the connection stays open.
        "HTTP/1.1 200 OK\r\n\r\n{}".to_owned(),
        "HTTP/1.1 200 OK\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: up\n\n".to_owned(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{}".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n".to_owned(),
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
            .to_owned(),
        format!("HTTP/1.1 200 OK\r\n{many}content-length: 2\r\n\r\n{{}}"),
        format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 2\r\n\r\n{{}}", "y".repeat(300_000)),
        "HTTP/1.1 200 OK\r\nserver : x\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
        "HTTP/1.1 200 OK\nContent-Length: 2\n\n{}".to_owned(),
        "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
    ] {
        let (result, _) = probe_of(answer.as_bytes(), 1).await;
        assert_eq!(result, Ok(HealthReport::default()), "{}", &answer[..answer.len().min(80)]);
    }
}

#[tokio::test]
async fn version_and_instance_are_read_from_a_body_that_does_not_end() {
    let answer = b"HTTP/1.1 200 OK\r\n\r\n{\"version\":\"1.2.3\"}\n";
    let (result, _) = probe_of(answer, 1).await;
    assert_eq!(result.unwrap().version.as_deref(), Some("1.2.3"));
}

#[tokio::test]
async fn a_probe_reads_a_bounded_number_of_bytes() {
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(4096);
    let body = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b' '; 64 * 1024]].concat();
    let head = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(10_000)].concat();
    for (answer, healthy) in [(interim, false), (head, false), (body, true)] {
        let (result, sent) = probe_of(&answer, 10_000).await;
        assert_eq!(result.is_ok(), healthy, "{result:?}");
        // The system buffers some megabytes of what the probe did not read.
        assert!(sent < 32 * 1024 * 1024, "{sent} bytes were sent");
    }
}

#[tokio::test]
async fn an_error_answer_is_told_with_its_first_line_or_its_target() {
    for (answer, says) in [
        (
            "HTTP/1.1 503 X\r\ncontent-length: 50\r\n\r\n{\"status\":\"loading model\"}\n",
            r#"503 Service Unavailable: "{\"status\":\"loading model\"}""#,
        ),
        ("HTTP/1.1 400 X\r\n\r\n\r\nInvalid host header\r\nmore", "400 Bad Request: \"Invalid host header\""),
        ("HTTP/1.1 307 X\r\nlocation: /health/\r\ncontent-length: 0\r\n\r\n", "a redirect to \"/health/\""),
        ("HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n", "404 Not Found"),
    ] {
        let (result, _) = probe_of(answer.as_bytes(), 1).await;
        let said = result.unwrap_err().to_string();
        assert!(said.starts_with("it answered ") && said.contains(says), "{said}");
    }
}

#[tokio::test]
async fn the_error_text_of_a_private_server_shows_no_part_of_the_token() {
    let (listener, port) = listen().await;
    let token = token(0xa5);
    let echo = format!("bad token {}", token.reveal());
    let server = server(&listener, |head| match head.contains("pillion-challenge") {
        true => ok(&proof(&token, port, head), ""),
        false => format!("HTTP/1.1 401 X\r\ncontent-length: {}\r\n\r\n{echo}", echo.len()),
    });
    let probe = probe(port, &token);
    let (answer, _) = tokio::join!(probe.attempt(0), server);
    assert_eq!(answer.unwrap_err().to_string(), "it answered 401 Unauthorized");
}

#[tokio::test]
async fn another_protocol_is_named() {
    for (answer, expected) in [
        (b"\x15\x03\x03\x00\x02\x02\x50".as_slice(), NotReady::Tls),
        (b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", NotReady::Http2),
    ] {
        assert_eq!(probe_of(answer, 1).await.0, Err(expected));
    }
    let said = probe_of(b"-ERR unknown command\r\n", 1).await.0.unwrap_err().to_string();
    assert!(said.contains("no HTTP answer") && said.contains("\"-ERR unknown command\""), "{said}");
}

#[tokio::test]
async fn a_tls_server_that_hangs_up_without_an_alert_is_recognised_by_a_client_hello() {
    let (listener, port) = listen().await;
    let probe = plain(port);
    let server = async {
        drop(listener.accept().await.unwrap().0);
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut record = [0; 5];
        stream.read_exact(&mut record).await.unwrap();
        let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
        stream.read_exact(&mut vec![0; length]).await.unwrap();
        stream.write_all(b"\x16\x03\x03\x00\x31\x02\0\0\x2d").await.unwrap();
        record
    };
    let (answer, record) = tokio::join!(probe.ask(), server);
    assert_eq!((answer, record[0]), (Err(NotReady::Tls), 0x16));
}

#[tokio::test]
async fn a_server_on_ipv6_alone_is_named() {
    // A machine without IPv6 has no such server.
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let port = listener.local_addr().unwrap().port();
    let said = plain(port).attempt(0).await.unwrap_err().to_string();
    assert!(said.contains(&format!("[::1]:{port} does; let the server listen on 127.0.0.1")), "{said}");
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_waits_for_no_timer() {
    // Between two ticks of tokio's timer: on a tick, a sleep of length zero ends at once as well.
    time::advance(Duration::from_micros(100)).await;
    let begun = time::Instant::now();
    pause_before(0).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    pause_before(1).await;
    assert!(begun.elapsed() >= HEALTH_RETRY_DELAY);
}
