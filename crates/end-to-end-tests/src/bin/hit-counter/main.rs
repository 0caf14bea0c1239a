//! `hit-counter [--open]`: a sidecar that records which requests reached a handler. It answers each request with a secret,
//! in the form that the requesting page can read best. `GET /hits` returns the recorded paths, oldest first.
//!
//! `--open` starts an insecure server: it listens on loopback, asks for no token, and lets every page read
//! its answers (`Access-Control-Allow-Origin: *`). A request that reaches the open server and not the other one was stopped
//! by the admission layer of pillion-server.

#[cfg(target_os = "linux")]
mod server;

#[cfg(target_os = "linux")]
fn main() -> pillion_server::Result {
    server::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
