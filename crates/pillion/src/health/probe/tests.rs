//! A server that may not be the one that was started: what it is asked, and what it never hears.

use std::num::NonZeroU16;

use pillion_protocol::ListenAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// A probe of a server on `port` that was given this token.
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

/// Answers the requests of one connection, each as `answer` says of its head; returns everything that was heard once the
/// connection is closed.
async fn server(listener: &TcpListener, mut answer: impl FnMut(&str) -> String) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut heard, mut answered) = (String::new(), 0);
    loop {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return heard;
        }
        heard.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        while let Some(end) = heard[answered..].find("\r\n\r\n") {
            let said = answer(&heard[answered..answered + end]);
            stream.write_all(said.as_bytes()).await.unwrap();
            answered += end + 4;
        }
    }
}

/// The proof that whoever holds `token` and listens on `port` gives for the challenge in `head`.
fn proof(token: &Token, port: u16, head: &str) -> String {
    let challenge = head.lines().find_map(|line| line.strip_prefix("pillion-challenge: ")).unwrap();
    let challenge = Challenge::read(challenge.as_bytes()).unwrap();
    format!("pillion-proof: {}\r\n", token.prove(ListenAddr::Tcp(NonZeroU16::new(port).unwrap()), challenge))
}

#[tokio::test]
async fn who_proves_it_hears_the_token_on_the_same_connection() {
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
    let (answer, heard) = tokio::join!(probe.attempt(0), server);
    assert_eq!(answer.unwrap().version.as_deref(), Some("1.2.3"));
    let (first, second) = heard.split_once("\r\n\r\n").unwrap();
    assert!(first.contains("pillion-challenge: ") && !first.contains("authorization"), "{first}");
    assert!(second.contains(&bearer) && !second.contains("pillion-challenge"), "{second}");
}

#[tokio::test]
async fn who_does_not_prove_it_is_a_stranger_and_hears_no_token() {
    let (listener, port) = listen().await;
    let (old, token, other) = (token(1), token(2), token(3));
    let mut heard_before = String::new();
    for squatter in ["silent", "empty", "old token", "other token", "other port", "echo", "replay"] {
        let head_of_another_attempt = heard_before.clone();
        let server = server(&listener, |head| {
            let proof = match squatter {
                "silent" => String::new(),
                "empty" => "pillion-proof: \r\n".to_owned(),
                // A backend of the run before this one still holds the port.
                "old token" => proof(&old, port, head),
                "other token" => proof(&other, port, head),
                // It asked the real one, which listens elsewhere.
                "other port" => proof(&token, port ^ 1, head),
                "echo" => head.lines().last().unwrap().replace("challenge", "proof") + "\r\n",
                "replay" => proof(&token, port, &head_of_another_attempt),
                _ => unreachable!(),
            };
            ok(&proof, r#"{"status":"ok","version":"6.6.6"}"#)
        });
        let probe = probe(port, &token);
        let (answer, heard) = tokio::join!(probe.attempt(0), server);
        assert_eq!(answer, Err(NotReady::Unproved), "{squatter}");
        assert!(!heard.contains(token.reveal()) && !heard.contains("authorization"), "{squatter}: {heard}");
        assert_eq!(heard.matches("\r\n\r\n").count(), 1, "{squatter} was asked once: {heard}");
        heard_before = heard;
    }
}

#[tokio::test]
async fn who_proves_it_and_hangs_up_is_not_called_again() {
    let (listener, port) = listen().await;
    let token = token(1);
    let server = server(&listener, |head| ok(&(proof(&token, port, head) + "connection: close\r\n"), ""));
    let probe = probe(port, &token);
    let (answer, heard) = tokio::join!(probe.attempt(0), server);
    assert_eq!(answer, Ok(HealthReport::default()));
    assert!(!heard.contains(token.reveal()), "{heard}");
}

#[tokio::test]
async fn who_proves_it_and_is_not_well_is_not_ready() {
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
