//! A sidecar that uses only Python's standard library takes the listener.

use integration_tests::{ProcessTree, run};
use pillion::{Restart, Spec, StopOutcome, Supervisor};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::tree;

/// `http.server` on the listener that is handed over.
const PROGRAM: &str = r#"
import os, socket, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())

server = HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket.close()
assert os.environ.pop("LISTEN_PID") == str(os.getpid())
server.socket = socket.socket(fileno=3)
server.socket.set_inheritable(False)
print(f"BACKEND_PORT:{server.socket.getsockname()[1]}", flush=True)
server.serve_forever()
"#;

fn python(tree: &ProcessTree) -> Spec {
    tree.spec(tree.program("python3").args(["-c", PROGRAM]).handover(true)).restart(Restart::OnFailure)
}

/// Requests its process id.
async fn get(port: u16) -> u32 {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    body.parse().unwrap()
}

#[test]
fn it_keeps_its_port_across_a_crash_and_no_connection_is_refused() {
    run(async {
        let tree = tree();
        let (supervisor, _events) = Supervisor::start(python(&tree));
        let mut changes = supervisor.watch();
        let before = supervisor.ready().await.unwrap();
        assert_eq!(Some(get(before.port.unwrap().get()).await), before.pid);
        // Launchers such as pyenv's replace themselves with the interpreter: the pid stays the same.
        let sidecar = tree.alive().into_iter().find(|process| Some(process.pid) == before.pid).unwrap();
        sidecar.signal(Signal::KILL).unwrap();
        while changes.next().await.unwrap().pid == before.pid {}
        let answered = get(before.port.unwrap().get()).await;
        let after = supervisor.ready().await.unwrap();
        assert_eq!((after.port, after.pid), (before.port, Some(answered)));
        assert_ne!(after.pid, before.pid);
        // It has no handler for SIGTERM: the signal ends it at once.
        let outcome = supervisor.stop().await;
        assert!(matches!(outcome, StopOutcome::Graceful(_)), "{outcome:?}");
    });
}
