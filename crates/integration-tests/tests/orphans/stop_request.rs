//! After the app's death the guard stops the sidecar as the app would have: it asks the leader first, by its declared request.

use std::{process::Stdio, time::Duration};

use integration_tests::{ProcessTree, ReportServer, TestMarker, run};
use tokio::process::{Child, Command};

use crate::support::programs;

const HOUR: Duration = Duration::from_secs(3600);

/// Starts a `fake-host` with this program as its sidecar, and with this stop request.
#[expect(clippy::disallowed_methods, reason = "the tree kills what remains")]
async fn ready(
    tree: &ProcessTree,
    reports: &ReportServer,
    grace: Duration,
    stop: Option<&str>,
    program: &[&str],
) -> Child {
    let programs = programs();
    let mut host = Command::new(&programs.host);
    host.args([grace.as_millis().to_string(), reports.port().to_string()])
        .args(["ready", "park"])
        .args(program)
        .env(TestMarker::VARIABLE, tree.marker())
        .env("FAKE", &programs.sidecar)
        .stdin(Stdio::null());
    if let Some(stop) = stop {
        host.env("FAKE_HOST_STOP", stop);
    }
    let host = host.spawn().unwrap();
    while reports.next().await.text != "host" {}
    host
}

/// A server in Python that ignores SIGTERM. The code `stops` lets it report `stopped` to the test.
fn server(stops: &str) -> String {
    const SERVER: &str = r#"
import os, signal, socket, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
def stopped():
    socket.create_connection(("127.0.0.1", int(sys.argv[1]))).sendall(b"stopped\n")
    os._exit(0)
class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def do_GET(self): self.answer(200)
    def do_POST(self):
        self.answer(202 if self.path == "/shutdown" else 404)
        if self.path == "/shutdown": stopped()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(f"BACKEND_PORT:{server.server_address[1]}", flush=True)
"#;
    format!("{SERVER}{stops}\nwhile True: signal.pause()\n")
}

async fn stops_by(request: &str, stops: &str) {
    let (tree, reports) = (ProcessTree::new(programs().sidecar), ReportServer::new().await);
    let (server, port) = (server(stops), reports.port().to_string());
    let mut host = ready(&tree, &reports, HOUR, Some(request), &["python3", "-c", &server, &port]).await;
    host.kill().await.unwrap();
    reports.wait_for("stopped").await;
}

#[test]
fn by_the_declared_signal() {
    run(stops_by("signal SIGINT", "signal.signal(signal.SIGINT, lambda *_: stopped())"));
}

#[test]
fn by_a_line_on_stdin() {
    run(stops_by("stdin quit", "if sys.stdin.readline() == 'quit\\n': stopped()"));
}

#[test]
fn by_an_http_request() {
    run(stops_by("http POST /shutdown", ""));
}

#[test]
fn by_the_signal_if_the_http_request_is_refused() {
    // SIGTERM is the default signal.
    run(stops_by("http POST /unknown", "signal.signal(signal.SIGTERM, lambda *_: stopped())"));
}

#[test]
fn the_leader_before_its_workers() {
    run(async {
        let (tree, reports, workers) =
            (ProcessTree::new(programs().sidecar), ReportServer::new().await, ReportServer::new().await);
        let port = workers.port();
        let steps = format!(
            "listen ok fork report {port} worker park ; announce term report {port} stopping wait exit 0"
        );
        let sidecar = programs().sidecar;
        let program: Vec<_> = [sidecar.to_str().unwrap()].into_iter().chain(steps.split(' ')).collect();
        let mut host = ready(&tree, &reports, HOUR, None, &program).await;
        let worker = workers.wait_for("worker").await;
        host.kill().await.unwrap();
        let mut leader = workers.wait_for("stopping").await;
        assert_eq!(tree.sidecars().len(), 2, "{:?}", tree.sidecars());
        leader.resume().await;
        worker.wait_death().await;
    });
}

#[test]
fn the_workers_of_a_leader_that_stays_after_half_of_the_grace_period() {
    run(async {
        let (tree, reports, workers) =
            (ProcessTree::new(programs().sidecar), ReportServer::new().await, ReportServer::new().await);
        let port = workers.port();
        let steps = format!("listen ok fork term report {port} asked exit 0 ; ignore-term announce park");
        let sidecar = programs().sidecar;
        let program: Vec<_> = [sidecar.to_str().unwrap()].into_iter().chain(steps.split(' ')).collect();
        // The worker must report within the second half.
        let grace = Duration::from_secs(8);
        let mut host = ready(&tree, &reports, grace, None, &program).await;
        let leader = tree.sidecars();
        host.kill().await.unwrap();
        workers.wait_for("asked").await;
        assert!(
            leader.iter().any(|it| tree.sidecars().iter().any(|now| now.pid == it.pid)),
            "the leader was killed before the end of the grace period"
        );
    });
}
