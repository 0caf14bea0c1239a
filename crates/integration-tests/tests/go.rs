//! The example in Go: the vectors of docs/protocol, and a life under the supervisor. `cargo xtask test` installs Go.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "clippy does not recognise this crate as test code")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use integration_tests::{ProcessTree, run};
use pillion::{Access, Restart, StopOutcome, Supervisor, Transport};
use pillion_vectors::{AddressKind, Requests, Subject, environments, load, requests};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A program that Go has built. Dropping it deletes the program.
struct Built {
    _directory: TempDir,
    program: PathBuf,
}

/// Runs Go in the folder of the example: `go build` or `go test -c`.
fn build(arguments: &[&str]) -> Built {
    build_for("linux", arguments)
}

fn build_for(system: &str, arguments: &[&str]) -> Built {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("go-backend");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/go-backend");
    let mut go = Command::new("go");
    go.args(arguments).arg("-o").arg(&program).arg(".").current_dir(example).env("GOOS", system);
    let built = go.output();
    let built = built.expect("go is on the PATH: `cargo xtask test` installs it");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Built { _directory: directory, program }
}

/// The command line contains a copy, because its package contains no examples. The variable of `cargo xtask codegen` writes it.
#[test]
fn generated_copy_for_pillion_init_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let copy = root.join("crates/pillion-cli/templates/backend/go/pillion.go");
    let source = std::fs::read(root.join("examples/go-backend/pillion.go")).unwrap();
    if std::env::var_os("PILLION_CODEGEN").is_some() {
        std::fs::write(&copy, &source).unwrap();
    }
    assert!(source == std::fs::read(&copy).unwrap(), "run `cargo xtask codegen`");
}

/// `pillion init` writes the file to backends of apps for all of them.
#[test]
#[ignore = "needs Go: cargo xtask test"]
fn it_compiles_for_every_system_of_tauri() {
    for system in ["windows", "darwin"] {
        build_for(system, &["build"]);
    }
}

fn with_test_handlers() -> (Built, Subject) {
    let built = build(&["test", "-c"]);
    let subject = Subject::new(&built.program).env("TEST_VECTORS", "1");
    (built, subject)
}

fn assert_none(failures: &[String]) {
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
#[ignore = "needs Go: cargo xtask test"]
fn it_follows_the_vectors_of_the_environment() {
    let (_built, subject) = with_test_handlers();
    assert_none(&environments(&subject, &load("environment.json").unwrap(), true));
}

#[test]
#[ignore = "needs Go: cargo xtask test"]
fn it_follows_the_vectors_of_requests() {
    let (_built, subject) = with_test_handlers();
    for file in ["admission.json", "websocket.json", "proof.json"] {
        let file: Requests = load(file).unwrap();
        for transport in [AddressKind::Tcp, AddressKind::Socket] {
            assert_none(&requests(&subject, &file, transport, true).unwrap());
        }
    }
}

/// The answer to `GET /greeting` with this token.
async fn get(access: &Access, token: &str) -> String {
    let mut stream = access.connect().await.unwrap();
    let host = access.listen_addr().authority();
    let request = format!(
        "GET /greeting HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn lives_and_stops(listener: Transport) {
    let built = build(&["build"]);
    let tree = ProcessTree::new(env!("CARGO_BIN_EXE_fake-sidecar"));
    let program = tree.program(&built.program).private(true).handover(true).transport(listener);
    let (supervisor, _events) = Supervisor::start(tree.spec(program).restart(Restart::OnFailure));
    let mut changes = supervisor.watch();
    let before = supervisor.ready().await.unwrap();
    let access = supervisor.access().await.unwrap();
    let token = access.token.as_ref().unwrap().reveal().to_owned();
    let answer = get(&access, &token).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("Hello from Go: /greeting\n"),
        "{answer}"
    );
    assert!(get(&access, &"0".repeat(64)).await.starts_with("HTTP/1.1 401 "));

    let crashed = tree.alive().into_iter().find(|process| Some(process.pid) == before.pid).unwrap();
    crashed.signal(Signal::KILL).unwrap();
    while changes.next().await.unwrap().pid == before.pid {}
    // This connection waits in the listener until the next run accepts it. The old token counts no more.
    assert!(get(&access, &token).await.starts_with("HTTP/1.1 401 "));
    let after = supervisor.ready().await.unwrap();
    assert_eq!(after.port, before.port, "the next run has the listener of the last one");
    assert_ne!(after.pid, before.pid);
    let access = supervisor.access().await.unwrap();
    assert!(get(&access, access.token.as_ref().unwrap().reveal()).await.starts_with("HTTP/1.1 200 "));
    let outcome = supervisor.stop().await;
    assert!(matches!(&outcome, StopOutcome::Graceful(exit) if exit.is_success()), "{outcome:?}");
}

#[test]
#[ignore = "needs Go: cargo xtask test"]
fn it_is_private_on_a_port_keeps_it_across_a_crash_and_stops_gracefully() {
    run(lives_and_stops(Transport::Tcp));
}

#[test]
#[ignore = "needs Go: cargo xtask test"]
fn it_is_private_on_a_socket_keeps_it_across_a_crash_and_stops_gracefully() {
    run(lives_and_stops(Transport::Local));
}

/// One of the signals is the host's, the other that of a wrapper that passes it on.
#[test]
#[ignore = "needs Go: cargo xtask test"]
fn signals_after_the_end_of_stdin_do_not_cut_the_stop_short() {
    let built = build(&["test", "-c"]);
    let mut server = Command::new(&built.program);
    server.env("TEST_VECTORS", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    #[expect(clippy::disallowed_methods, reason = "the end of its stdin ends it")]
    let mut server = server.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().strip_prefix("BACKEND_PORT:").unwrap().parse().unwrap();
    let mut request = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    );
    request.write_all(head.as_bytes()).unwrap();
    // The handler has begun to read the body.
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let mut answer = vec![0; go_on.len()];
    request.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), go_on);
    drop(server.stdin.take());
    // It stops when it accepts no more.
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {}
    for signal in [Signal::TERM, Signal::INT] {
        kill_process(Pid::from_child(&server), signal).unwrap();
    }
    request.write_all(b"x").unwrap();
    let mut answer = String::new();
    request.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

/// The handler reads no body, so that `drain` may find no request in flight.
#[test]
#[ignore = "needs Go: cargo xtask test"]
fn pillion_check_finds_no_broken_rule() {
    let built = build(&["build"]);
    let mut check = Command::new(env!("CARGO_BIN_EXE_pillion-under-test"));
    let output = check.args(["check", "--timeout", "120s", "--"]).arg(&built.program).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && report.contains(" 0 broken, 0 not supported"), "{report}");
}
