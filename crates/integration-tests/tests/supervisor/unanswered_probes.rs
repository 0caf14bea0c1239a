//! A sidecar that works is busy, however long it does not answer; one whose worker has ended is replaced in seconds, or
//! followed to the address that it announces instead (Linux).

use std::time::Duration;

use integration_tests::run;
use pillion::{FailureKind, Liveness, Restart, State, Supervisor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
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

/// A parent that keeps the listening socket and waits, and the worker that serves on it: what a reloader does.
const PARENT_AND_WORKER: &str = r#"
import os, signal
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        if self.path == "/die":
            os.kill(os.getpid(), signal.SIGKILL)

server = HTTPServer(("127.0.0.1", 0), Handler)
if os.fork() == 0:
    print(f"BACKEND_PORT:{server.server_port}", flush=True)
    server.serve_forever()
signal.sigwait([signal.SIGTERM])
"#;

/// A parent that starts a new worker, on a new port, when the present one has ended: what `node --watch` does.
const WATCHER: &str = r#"
import os, signal
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        if self.path == "/die":
            os.kill(os.getpid(), signal.SIGKILL)

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

#[test]
fn a_dead_worker_behind_a_living_parent_is_replaced_within_seconds() {
    run(async {
        let tree = tree();
        let spec = tree.spec(tree.program("python3").args(["-c", PARENT_AND_WORKER]));
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
        let spec = tree.spec(tree.program("python3").args(["-c", WATCHER])).restart(Restart::OnFailure);
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
