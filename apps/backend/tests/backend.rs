//! Tests of the AIOS backend, with the program that ships.
//!
//! `pillion-server` tests the behaviour of every sidecar, above all each way to stop.

#![expect(clippy::unwrap_used, reason = "this file is test code")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use serde_json::Value;

/// A running backend. Dropping it kills and reaps the process, however the test ends.
struct Backend {
    process: Child,
    stdout: BufReader<ChildStdout>,
    port: u16,
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_backend"));
    for name in ["PORT", "PILLION_INSTANCE", "PILLION_TOKEN", "PILLION_ALLOWED_ORIGINS", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

impl Backend {
    #[expect(clippy::disallowed_methods, reason = "this test runs the backend without the supervisor")]
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
        // Both fail only if the backend has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run_with_port(port: &str) -> Output {
    command().env("PORT", port).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn the_backend_announces_answers_health_and_stops_with_its_lifeline() {
    let instance = "00112233445566778899aabbccddeeff";
    let mut backend = Backend::start(command().env("PILLION_INSTANCE", instance));
    let health = backend.health();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["app"], "AIOS");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(health["instance"], instance);
    assert!(health["timestamp"].is_u64() && health["uptime"].is_f64(), "{health}");
    drop(backend.process.stdin.take());
    let mut rest = String::new();
    backend.stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "stdout carries only the announcement");
    assert_eq!(backend.process.wait().unwrap().code(), Some(0));
}

#[test]
fn an_invalid_or_taken_port_is_an_error_that_names_it() {
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
fn the_port_from_the_environment_is_used() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(Backend::start(command().env("PORT", port.to_string())).port, port);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn the_backend_does_not_load_the_mathematics_of_the_c_library() {
    let backend = Backend::start(&mut command());
    backend.health();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", backend.process.id())).unwrap();
    assert!(maps.contains("/libc.so."), "{maps}");
    assert!(!maps.contains("/libm.so."), "{maps}");
}
