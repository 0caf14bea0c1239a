//! Probes of servers that may not be the started sidecar: what they are asked, and that they never receive the token.

use std::num::NonZeroU16;

use pillion_protocol::ListenAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// A probe of a server on `port` that should hold this token.
fn probe(port: u16, token: &Token) -> Probe {
    let connector = Connector::Tcp(NonZeroU16::new(port).unwrap());
    Probe { connector, path: "/health".to_owned(), instance: None, token: Some(token.clone()), run: None }
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
        assert_eq!(answer, Err(NotReady::Status(status)));
    }
}

#[test]
fn a_probe_does_not_print_its_token() {
    let token = token(7);
    assert!(!format!("{:?}", probe(1, &token)).contains(token.reveal()));
}
