//! The Python example under the supervisor. `cargo xtask test` provides a Python with its packages.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "clippy does not recognise this crate as test code")]

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use integration_tests::{ProcessTree, run};
use pillion::{Program, Restart, State, StopOutcome, Supervisor, Transport};
use rustix::process::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

fn tree() -> ProcessTree {
    ProcessTree::new(env!("CARGO_BIN_EXE_fake-sidecar"))
}

fn example(tree: &ProcessTree) -> Program {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = env::var("PILLION_TEST_PYTHON")
        .expect("PILLION_TEST_PYTHON names a Python with FastAPI and uvicorn: use `cargo xtask test`");
    tree.program(&python)
        .arg(root.join("examples/fastapi-backend/main.py"))
        .env("PYTHONPATH", root.join("sdk/python/src"))
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str) -> String {
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
#[ignore = "needs Python and FastAPI: cargo xtask test"]
fn it_answers_only_the_app() {
    run(async {
        let tree = tree();
        let (supervisor, _events) = Supervisor::start(tree.spec(example(&tree).private(true)));
        // It is ready: it has proved that it has the token.
        let endpoint = supervisor.ready().await.unwrap();
        assert_eq!(endpoint.version.as_deref(), Some("0.1.0"), "a client with the token sees the version");
        let token = supervisor.access().await.unwrap().token.unwrap();
        let bearer = format!("authorization: Bearer {}\r\n", token.reveal());
        let port = endpoint.port.unwrap();
        let (ours, page) = (format!("host: 127.0.0.1:{port}\r\n"), "origin: tauri://localhost\r\n");
        for (request, headers, status) in [
            ("GET /notes", format!("{ours}{bearer}"), 200),
            ("GET /notes", format!("{ours}{page}{bearer}"), 200),
            ("GET /none", format!("{ours}{page}{bearer}"), 404),
            ("GET /notes", ours.clone(), 401),
            ("GET /notes", format!("{ours}{page}"), 401),
            ("GET /docs", ours.clone(), 401),
            ("GET /health", ours.clone(), 200),
            ("GET /notes", format!("host: rebound.example:{port}\r\n{bearer}"), 403),
            ("GET /notes", format!("{ours}origin: https://example.org\r\n{bearer}"), 403),
        ] {
            let stream = TcpStream::connect(("127.0.0.1", port.get())).await.unwrap();
            let answer = ask(stream, &format!("{request} HTTP/1.1\r\n{headers}")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request} {headers}: {answer}");
            let readable = answer.contains("access-control-allow-origin: tauri://localhost");
            assert_eq!(readable, headers.contains(page), "{request} {headers}: {answer}");
        }
        let environment = fs::read(format!("/proc/{}/environ", endpoint.pid.unwrap())).unwrap();
        let secret = token.reveal().as_bytes();
        assert!(!environment.windows(secret.len()).any(|part| part == secret), "the token is overwritten");
        let _ = supervisor.stop().await;
    });
}

/// openapi-typescript makes the types of the page's client from the document.
#[test]
#[ignore = "needs Python and FastAPI: cargo xtask test"]
fn generated_openapi_document_is_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fastapi-backend");
    let output = Command::new(env::var("PILLION_TEST_PYTHON").unwrap())
        .args(["-c", "import json, main; print(json.dumps(main.app.openapi(), indent=2))"])
        .current_dir(&folder)
        .env("PYTHONPATH", "../../sdk/python/src")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", output.status);
    let document = String::from_utf8(output.stdout).unwrap();
    let file = folder.join("openapi.json");
    if env::var_os("PILLION_CODEGEN").is_some() {
        fs::write(&file, &document).unwrap();
    }
    let written = fs::read_to_string(file).unwrap();
    assert_eq!(written, document, "openapi.json is out of date: run `cargo xtask codegen`");
}

#[test]
#[ignore = "needs Python and FastAPI: cargo xtask test"]
fn a_stop_finishes_the_request_in_flight() {
    run(async {
        let tree = tree();
        let (supervisor, _events) = Supervisor::start(tree.spec(example(&tree)));
        let mut changes = supervisor.watch();
        let port = supervisor.ready().await.unwrap().port.unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", port.get())).await.unwrap();
        let (start, rest) = (r#"{"text":"#, r#""x"}"#);
        let head = format!(
            "POST /notes HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
            start.len() + rest.len()
        );
        client.write_all(head.as_bytes()).await.unwrap();
        // The app asks for the body: the request is in flight.
        let continues = b"HTTP/1.1 100 Continue\r\n\r\n".as_slice();
        let mut answer = vec![0; continues.len()];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(
            answer.escape_ascii().to_string().to_lowercase(),
            continues.escape_ascii().to_string().to_lowercase()
        );
        client.write_all(start.as_bytes()).await.unwrap();
        let stopping = tokio::spawn(async move { supervisor.stop().await });
        while changes.next().await.unwrap().state != State::Stopping {}
        client.write_all(rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n1"), "{answer}");
        let outcome = stopping.await.unwrap();
        assert!(matches!(outcome, StopOutcome::Graceful(exit) if exit.is_success()), "{outcome:?}");
    });
}

#[test]
#[ignore = "needs Python and FastAPI: cargo xtask test"]
fn it_keeps_its_port_across_a_crash_and_no_connection_is_refused() {
    run(async {
        let tree = tree();
        let spec = tree.spec(example(&tree).handover(true)).restart(Restart::OnFailure);
        let (supervisor, _events) = Supervisor::start(spec);
        let mut changes = supervisor.watch();
        let before = supervisor.ready().await.unwrap();
        let sidecar = tree.alive().into_iter().find(|process| Some(process.pid) == before.pid).unwrap();
        sidecar.signal(Signal::KILL).unwrap();
        while changes.next().await.unwrap().pid == before.pid {}
        // Python needs longer than this connection to start: it waits in the queue of the listener.
        let port = before.port.unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port.get())).await.unwrap();
        let answer = ask(stream, &format!("GET /notes HTTP/1.1\r\nhost: localhost:{port}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let after = supervisor.ready().await.unwrap();
        assert_eq!(after.port, before.port);
        assert_ne!(after.pid, before.pid);
        let outcome = supervisor.stop().await;
        assert!(matches!(outcome, StopOutcome::Graceful(exit) if exit.is_success()), "{outcome:?}");
    });
}

#[test]
#[ignore = "needs Python and FastAPI: cargo xtask test"]
fn it_works_without_a_port() {
    run(async {
        let tree = tree();
        let spec = tree.spec(example(&tree).private(true).transport(Transport::Local));
        let (supervisor, _events) = Supervisor::start(spec);
        assert_eq!(supervisor.ready().await.unwrap().port, None);
        let access = supervisor.access().await.unwrap();
        let token = access.token.as_ref().unwrap().reveal();
        for (host, token, status) in
            [("localhost", token, 200), ("localhost", "none", 401), ("127.0.0.1", token, 403)]
        {
            let head = format!("GET /notes HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n");
            let answer = ask(access.connect().await.unwrap(), &head).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
        }
        let outcome = supervisor.stop().await;
        assert!(matches!(outcome, StopOutcome::Graceful(exit) if exit.is_success()), "{outcome:?}");
    });
}

#[test]
#[ignore = "needs Python and FastAPI: cargo xtask test"]
fn pillion_check_finds_every_rule_kept() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = env::var("PILLION_TEST_PYTHON").expect("PILLION_TEST_PYTHON: use `cargo xtask test`");
    let mut check = Command::new(env!("CARGO_BIN_EXE_pillion-under-test"));
    check.args(["check", "--timeout", "120s", "--upload", "/notes", "--"]).arg(python);
    check.arg(root.join("examples/fastapi-backend/main.py")).env("PYTHONPATH", root.join("sdk/python/src"));
    let output = check.output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let kept = " 0 broken, 0 not supported, 0 not checked";
    assert!(output.status.success() && report.contains(kept), "{report}");
}
