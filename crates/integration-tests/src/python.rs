//! Sidecars in Python, which needs no build step and whose default handling of signals differs from Rust's.

/// Lets the main thread of [`stoppable_server`] announce the port, and wait for nothing else.
pub const ON_HTTP: &str = "announce()";
/// Lets it call `stopped()` on a line `quit` from stdin.
pub const ON_QUIT: &str = "
announce()
if sys.stdin.readline() == 'quit\\n': stopped()";
/// Lets it call `stopped()` on SIGINT, as Python's own handler reports it. It may come as soon as the announcement is written.
pub const ON_KEYBOARD_INTERRUPT: &str = "
try:
    announce()
    signal.pause()
except KeyboardInterrupt: stopped()";

/// The source of a server that announces its port and ignores SIGTERM. It answers `GET` with 200, and `POST /shutdown` with 202
/// before it calls `stopped()`; any other `POST` gets 404.
///
/// `stopped` is the body of that function, statements on one line. The main thread executes `stops`, which calls `announce()`, and then
/// waits for ever.
#[must_use]
pub fn stoppable_server(stopped: &str, stops: &str) -> String {
    const SERVER: &str = r#"
import os, signal, socket, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
def announce(): print(f"BACKEND_PORT:{server.server_address[1]}", flush=True)
"#;
    format!("def stopped(): {stopped}\n{SERVER}{stops}\nwhile True: signal.pause()\n")
}
