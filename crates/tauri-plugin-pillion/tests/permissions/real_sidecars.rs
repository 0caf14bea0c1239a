//! Commands for sidecars that run, with or without a port. This test's own program plays them, on every system.

use std::{io::Write as _, thread};

use pillion_server::Sidecar;
use tauri_plugin_pillion::pillion::Readiness;

use super::*;

/// The declaration of a sidecar that executes the test with this name. Each of those tests does nothing unless a host has started it.
fn played_by(test: &str, declared: Value) -> Value {
    let own = env::current_exe().unwrap();
    let mut declaration = json!({
        "program": own.file_stem().unwrap().to_str().unwrap(),
        "args": [format!("real_sidecars::{test}"), "--exact", "--nocapture", "--ignored"],
    });
    declaration.as_object_mut().unwrap().extend(declared.as_object().unwrap().clone());
    declaration
}

fn is_sidecar() -> bool {
    env::var_os("PILLION_INSTANCE").is_some()
}

#[test]
#[ignore = "it plays a sidecar of other tests"]
fn says_a_port_and_serves_nothing() {
    while is_sidecar() {
        // A line of its own: the harness has begun one.
        println!("\nport 4242");
        std::io::stdout().flush().unwrap();
        thread::park();
    }
}

#[test]
#[ignore = "it plays a sidecar of other tests"]
fn serves_on_a_local_socket() {
    use axum::{Router, routing::get};

    if is_sidecar() {
        let router = Router::new()
            .route("/hello", get(async || "hello"))
            .route("/large", get(async || vec![b'x'; 300_000]));
        let serve = Sidecar::new("Test").serve(router);
        tokio::runtime::Runtime::new().unwrap().block_on(serve).unwrap();
    }
}

#[test]
fn a_page_that_may_call_a_sidecar_on_demand_holds_leases_and_ends_them() {
    // Nothing listens there: the app only has to believe that the sidecar is ready.
    let server = json!({
        "private": false, "ready": { "line": "port (?<port>[0-9]+)" }, "onDemand": true, "idleStopMs": 1, "graceMs": 1
    });
    let server = played_by("says_a_port_and_serves_nothing", server);
    let started = played_by("says_a_port_and_serves_nothing", json!({ "ready": "started", "graceMs": 1 }));
    let app = app_with(
        &json!(["pillion:default", "pillion:allow-connect"]),
        &json!({ "one": server, "two": started }),
    );
    let main = window(&app, "main");
    let supervisor = app.pillion().sidecar("one").unwrap();
    assert_eq!(supervisor.status().readiness, Readiness::Idle);
    assert_eq!(object(response(&main, "status", "one").unwrap())["state"], "idle");

    let first = object(response(&main, "connect", "one").unwrap());
    let second = object(response(&main, "connect", "one").unwrap());
    assert_eq!(first["pid"], second["pid"], "the first lease keeps the sidecar running");
    assert_ne!(first["lease"], second["lease"]);
    let mut watch = supervisor.watch();
    for held in [&first, &second] {
        assert_eq!(supervisor.status().state, State::Ready);
        invoke(&main, "unwatch", json!({ "id": held["lease"] }).into()).unwrap();
    }
    tauri::async_runtime::block_on(async { while watch.next().await.unwrap().state != State::Idle {} });

    let third = object(response(&main, "connect", "one").unwrap());
    assert_ne!(third["pid"], first["pid"]);
    // It has no address, and a failed call leaves no lease.
    assert_eq!(response(&main, "connect", "two").unwrap_err()["kind"], "noPort");
    app.pillion().close();
}

/// Sends a request for this path. Returns the head of the response, and its whole body.
fn fetch(window: &WebviewWindow<MockRuntime>, path: &str) -> Result<(Value, Vec<u8>), Value> {
    let head = json!({ "id": 7, "sidecar": "one", "method": "GET", "path": path, "headers": [] });
    let bytes = |response| match response {
        InvokeResponseBody::Raw(bytes) => bytes,
        InvokeResponseBody::Json(text) => panic!("JSON instead of bytes: {text}"),
    };
    let message = bytes(invoke(window, "request", encode(&head))?);
    let (length, rest) = message.split_first_chunk().unwrap();
    let (head, first) = rest.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap());
    let (head, mut body): (Value, _) = (serde_json::from_slice(head).unwrap(), first.to_vec());
    let mut ended = head["ended"] == true;
    while !ended {
        let more = bytes(invoke(window, "read", json!({ "id": 7 }).into())?);
        ended = more.is_empty();
        body.extend(more);
    }
    Ok((head, body))
}

/// A Unix domain socket, or a named pipe.
#[test]
fn a_page_calls_a_sidecar_that_has_no_port() {
    let server = played_by("serves_on_a_local_socket", json!({ "transport": "local" }));
    let app = app_with(&json!(["pillion:default", "pillion:allow-fetch"]), &json!({ "one": server }));
    let main = window(&app, "main");
    response(&main, "ready", "one").unwrap();
    let status = object(response(&main, "status", "one").unwrap());
    assert_eq!((&status["state"], &status["port"]), (&json!("ready"), &Value::Null), "{status}");

    let (head, body) = fetch(&main, "/hello").unwrap();
    assert_eq!((&head["status"], body.as_slice()), (&json!(200), b"hello".as_slice()), "{head}");
    let (_, body) = fetch(&main, "/large").unwrap();
    assert!(body.len() == 300_000 && body.iter().all(|byte| *byte == b'x'), "{}", body.len());
    let (head, _) = fetch(&main, "/no-such-path").unwrap();
    assert_eq!(head["status"], 404);
    assert!(denial(&window(&app, "other"), "request", "one").is_some(), "a window without the permission");
    app.pillion().close();
    assert!(fetch(&main, "/hello").is_err(), "the sidecar has ended");
}
