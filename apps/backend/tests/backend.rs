//! The promises that AIOS makes about its backend, kept by the program that is shipped.
//!
//! What every sidecar on `pillion-server` does, above all each way to stop, is tested there.

#![expect(clippy::unwrap_used, reason = "all of this is test code")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use serde_json::Value;

/// The backend, killed and reaped however its test ends.
struct Backend {
    process: Child,
    stdout: BufReader<ChildStdout>,
    port: u16,
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backend"));
    for given in ["PORT", "PILLION_INSTANCE", "PILLION_TOKEN", "PILLION_ALLOWED_ORIGINS", "RUST_LOG"] {
        command.env_remove(given);
    }
    command
}

impl Backend {
    #[expect(clippy::disallowed_methods, reason = "the backend is tested without the supervisor")]
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("BACKEND_PORT:").unwrap().parse().unwrap();
        Self { process, stdout, port }
    }

    fn health(&self) -> Value {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let host = connection.peer_addr().unwrap();
        write!(connection, "GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Both fail only where the backend has ended already, which is what they are for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run_with_port(port: &str) -> Output {
    command().env("PORT", port).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn it_announces_answers_and_ends_with_its_lifeline() {
    let nonce = "00112233445566778899aabbccddeeff";
    let mut backend = Backend::start(command().env("PILLION_INSTANCE", nonce));
    let health = backend.health();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["app"], "AIOS");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(health["instance"], nonce);
    assert!(health["timestamp"].is_u64() && health["uptime"].is_f64(), "{health}");
    drop(backend.process.stdin.take());
    let mut rest = String::new();
    backend.stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "stdout carries one line");
    assert_eq!(backend.process.wait().unwrap().code(), Some(0));
}

#[test]
fn a_port_that_is_none_or_taken_is_refused_in_words() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().port().to_string();
    for port in ["abc", "70000", "-1", &taken] {
        let output = run_with_port(port);
        assert_eq!(output.status.code(), Some(1), "PORT={port}");
        assert_eq!(output.stdout, b"", "PORT={port}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with("Error: ") && stderr.contains(port), "{stderr}");
    }
}

#[test]
fn a_port_that_is_given_is_used() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(Backend::start(command().env("PORT", port.to_string())).port, port);
}
