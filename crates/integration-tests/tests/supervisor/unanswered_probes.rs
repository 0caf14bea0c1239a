//! A sidecar that works, or waits in a client's request, is busy, however long it does not answer; one whose worker has ended is
//! replaced in seconds, or followed to the address that it announces instead (Linux).

use std::time::Duration;

use integration_tests::{ProcessTree, run};
use pillion::{Events, FailureKind, Liveness, Restart, State, Supervisor};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::support::{assert_failure, status, tree};

/// One thread serves one request at a time. `/work` computes for 3 s of processor time before it answers.
const ONE_THREAD: &str = r#"
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        end = time.process_time() + 3
        while self.path == "/work" and time.process_time() < end:
            pass
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"done")

server = HTTPServer(("127.0.0.1", 0), Handler)
print(f"BACKEND_PORT:{server.server_port}", flush=True)
server.serve_forever()
"#;

/// Uses no processor time while it does not answer. `/wait/PORT` answers once the connection that it opens to this port has
/// ended. After `/hang` nothing is accepted any more; after `/lock` each further request is read and never answered.
const WAITING: &str = r#"
import http.server, socket, sys, threading

locked = threading.Event()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if locked.is_set():
            threading.Event().wait()
        if self.path.startswith("/wait/"):
            socket.create_connection(("127.0.0.1", int(self.path[6:]))).recv(1)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"done")
        if self.path == "/lock":
            locked.set()
        if self.path == "/hang":
            self.connection.shutdown(socket.SHUT_RDWR)
            threading.Event().wait()

server = getattr(http.server, sys.argv[1])(("127.0.0.1", 0), Handler)
print(f"BACKEND_PORT:{server.server_port}", flush=True)
server.serve_forever()
"#;

/// Serves one connection at a time until its client closes it.
const ONE_CONNECTION: &str = r#"
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"done")

server = HTTPServer(("127.0.0.1", 0), Handler)
print(f"BACKEND_PORT:{server.server_port}", flush=True)
server.serve_forever()
"#;

/// The handler of a worker: `/die` kills the worker, and any other path gets 200.
const WORKER: &str = r#"
import os, signal
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        if self.path == "/die":
            os.kill(os.getpid(), signal.SIGKILL)
"#;

/// A parent that keeps the listening socket and waits, and the worker that serves on it: what a reloader does.
const PARENT_AND_WORKER: &str = r#"
server = HTTPServer(("127.0.0.1", 0), Handler)
if os.fork() == 0:
    print(f"BACKEND_PORT:{server.server_port}", flush=True)
    server.serve_forever()
signal.sigwait([signal.SIGTERM])
"#;

/// A parent that starts a new worker, on a new port, when the present one has ended: what `node --watch` does.
const WATCHER: &str = r#"
while True:
    worker = os.fork()
    if worker == 0:
        server = HTTPServer(("127.0.0.1", 0), Handler)
        print(f"BACKEND_PORT:{server.server_port}", flush=True)
        server.serve_forever()
    os.waitpid(worker, 0)
"#;

/// Sends a request and waits for the end of the answer, or of the connection.
async fn get(port: u16, path: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.expect("the sidecar listens");
    connection.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.expect("it is connected");
    let mut answer = String::new();
    let _ = connection.read_to_string(&mut answer).await;
    answer
}

#[test]
fn a_long_computation_on_the_only_thread_is_not_a_hang() {
    run(async {
        let tree = tree();
        let spec = tree.spec(tree.program("python3").args(["-c", ONE_THREAD])).restart(Restart::OnFailure);
        // Without the look at its work, it would be hung after 2 s.
        let liveness = Liveness::new(Duration::from_millis(500), 4).with_busy_limit(Duration::MAX);
        let (supervisor, _) = Supervisor::start(spec.liveness(liveness));
        let endpoint = supervisor.ready().await.expect("it starts");
        let answer = get(endpoint.port.expect("it has a port").get(), "/work").await;
        assert!(answer.ends_with("done"), "{answer:?}");
        let status = supervisor.status();
        assert_eq!((status.pid, status.restarts), (endpoint.pid, 0));
        let _ = supervisor.stop().await;
    });
}

/// Starts a server of this class of Python's `http.server`, which is hung after 400 ms without answer and work.
fn start_waiting(tree: &ProcessTree, class: &str, busy_limit: Duration) -> (Supervisor, Events) {
    let spec = tree.spec(tree.program("python3").args(["-c", WAITING, class])).restart(Restart::OnFailure);
    let liveness = Liveness::new(Duration::from_millis(100), 4).with_busy_limit(busy_limit);
    Supervisor::start(spec.liveness(liveness))
}

/// Sends a request, and waits until the server has read it and waits in it. The server answers when the returned connection ends.
async fn send_waiting(port: u16) -> (TcpStream, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let path = format!("/wait/{}", listener.local_addr().expect("it is bound").port());
    let answer = tokio::spawn(async move { get(port, &path).await });
    (listener.accept().await.expect("the server reads the request").0, answer)
}

/// Waits until the sidecar is replaced because it hangs.
async fn replaced(events: &mut Events, parts: &[&str]) {
    let down = status(events, |status| status.state == State::BackingOff).await;
    assert_failure(&down.failure.expect("it says why"), FailureKind::Hung, parts);
}

#[test]
fn a_request_that_waits_on_the_only_thread_is_not_a_hang_and_a_deadlock_is() {
    run(async {
        let tree = tree();
        let (waiting, _) = start_waiting(&tree, "HTTPServer", Duration::MAX);
        let endpoint = waiting.ready().await.expect("it starts");
        let (release, answer) = send_waiting(endpoint.port.expect("it has a port").get()).await;
        // These servers fall silent later than the first one, and count as hung after the same time.
        for (class, path) in
            [("HTTPServer", "/hang"), ("HTTPServer", "/lock"), ("ThreadingHTTPServer", "/lock")]
        {
            let (deadlocked, mut events) = start_waiting(&tree, class, Duration::MAX);
            let before = deadlocked.ready().await.expect("it starts");
            get(before.port.expect("it has a port").get(), path).await;
            replaced(&mut events, &["answered no health request for 400 ms"]).await;
            let _ = deadlocked.stop().await;
        }
        drop(release);
        let answer = answer.await.expect("it is not cancelled");
        assert!(answer.ends_with("done"), "{answer:?}");
        let status = waiting.status();
        assert_eq!((status.pid, status.restarts), (endpoint.pid, 0));
        let _ = waiting.stop().await;
    });
}

#[test]
fn a_request_that_waits_beyond_the_busy_limit_is_a_hang() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = start_waiting(&tree, "HTTPServer", Duration::from_secs(1));
        let endpoint = supervisor.ready().await.expect("it starts");
        let (_release, _answer) = send_waiting(endpoint.port.expect("it has a port").get()).await;
        replaced(&mut events, &["answered no health request for 1 s", "other requests to answer"]).await;
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_stopped_process_does_not_work_on_its_request() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = start_waiting(&tree, "HTTPServer", Duration::MAX);
        let endpoint = supervisor.ready().await.expect("it starts");
        let (_release, _answer) = send_waiting(endpoint.port.expect("it has a port").get()).await;
        let leader = tree.alive().into_iter().find(|process| Some(process.pid) == endpoint.pid);
        leader.expect("it lives").signal(Signal::STOP).expect("it can be signalled");
        replaced(&mut events, &["answered no health request for 400 ms"]).await;
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_probe_keeps_no_connection_of_a_server_that_serves_one_at_a_time() {
    run(async {
        let tree = tree();
        let spec = tree.spec(tree.program("python3").args(["-c", ONE_CONNECTION]));
        let (supervisor, _) =
            Supervisor::start(spec.liveness(Liveness::new(Duration::from_millis(50), u32::MAX)));
        let port = supervisor.ready().await.expect("it starts").port.expect("it has a port").get();
        for _ in 0..20 {
            let answer = get(port, "/").await;
            assert!(answer.ends_with("done"), "{answer:?}");
        }
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_dead_worker_behind_a_living_parent_is_replaced_within_seconds() {
    run(async {
        let tree = tree();
        let spec = tree.spec(tree.program("python3").args(["-c", &format!("{WORKER}{PARENT_AND_WORKER}")]));
        // Without the look at the worker, it would be hung after five hours.
        let liveness = Liveness::new(Duration::from_secs(3600), 5);
        let (supervisor, mut events) = Supervisor::start(spec.restart(Restart::OnFailure).liveness(liveness));
        let before = supervisor.ready().await.expect("it starts");
        get(before.port.expect("it has a port").get(), "/die").await;
        let down = status(&mut events, |status| status.state == State::BackingOff).await;
        let parts = ["its worker process", "has ended"];
        assert_failure(&down.failure.expect("it says why"), FailureKind::Hung, &parts);
        let after = supervisor.ready().await.expect("it starts again");
        assert_ne!(before.pid, after.pid);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_server_that_announces_itself_elsewhere_is_followed() {
    run(async {
        let tree = tree();
        let spec = tree
            .spec(tree.program("python3").args(["-c", &format!("{WORKER}{WATCHER}")]))
            .restart(Restart::OnFailure);
        let (supervisor, mut events) = Supervisor::start(spec);
        let before = supervisor.ready().await.expect("it starts");
        for _ in 0..2 {
            let port = supervisor.status().port.expect("it has a port");
            get(port.get(), "/die").await;
            status(&mut events, |status| status.state == State::Ready && status.port != Some(port)).await;
        }
        let after = supervisor.status();
        assert_eq!((after.pid, after.restarts), (before.pid, 0));
        let _ = supervisor.stop().await;
    });
}
