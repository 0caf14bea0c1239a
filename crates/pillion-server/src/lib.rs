//! Turns an [axum] router into a sidecar: a local server that a desktop app starts, finds, and stops.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//!
//! #[tokio::main]
//! async fn main() -> pillion_server::Result {
//!     pillion_server::init_tracing();
//!     let router = Router::new().route("/", get(|| async { "Hello from the sidecar" }));
//!     pillion_server::serve("Hello", router).await
//! }
//! ```
//!
//! [`Sidecar`] is the same with settings, [`Limits`] says how much a client may ask, [`Shutdown`] tells a long-lived handler that the end is near.
//!
//! # What you get
//!
//! - **A port.** 127.0.0.1 only. The system chooses the port, never one that browsers refuse to call; where `PORT` is
//!   set, that port or an error in words. Where the host hands a listener over (`LISTEN_FDS`), that one, so that the port
//!   survives a crash. It may be a Unix domain socket: then there is no port, and other users are turned away by their
//!   credentials. On Windows the host may name a pipe instead (`PILLION_PIPE`), which no other user can open.
//! - **The announcement.** Exactly one line on stdout, `BACKEND_PORT:{port}` or `BACKEND_SOCKET:3` (on Windows
//!   `BACKEND_SOCKET:pipe`), once connections are accepted. Print
//!   nothing else there: what is for humans goes to stderr, through `tracing`.
//! - **Health.** `GET /health` answers status, app, version, clock, uptime, and the nonce of this run. The route is
//!   ours: it is added to your router outside your layers, your fallback stays yours, and a router with a
//!   `GET /health` of its own is refused with [`Error::HealthTaken`].
//! - **Privacy.** A request reaches your router only if its `Host` is this server (no DNS rebinding), its `Origin`, if it has
//!   one, is a page of the app, and it carries the token that the host gave in `PILLION_TOKEN`. Others are told 400, 403 or
//!   401. Started by hand, without a token, it serves whoever passes the first two, `curl` included. The token is
//!   `Authorization: Bearer {token}`, or the WebSocket subprotocol `pillion.bearer.{token}`, offered beside `pillion`; your
//!   handlers see neither. Strangers may ask `/health`, and learn that somebody is alive.
//! - **CORS** for the app's own pages, on every platform's spelling of their origin. The host may name others in
//!   `PILLION_ALLOWED_ORIGINS`, which then replaces the list. A `CorsLayer` in your router is not needed.
//! - **Limits** on connections, heads, bodies and time, each with a clear answer: [`Limits`].
//! - **A graceful stop.** On SIGINT, SIGTERM (on Windows Ctrl+C, Ctrl+Break), or the end of a stdin that is a pipe or
//!   a socket: no new connections, idle ones are closed, requests in flight finish within the grace period. A stdin
//!   that is a terminal, a file or `/dev/null` means nothing. Upgraded connections (WebSocket) are their handler's
//!   to end, by [`Shutdown`].
//!
//! # Exit status
//!
//! | status | of a `main` that returns [`Result`] |
//! | --- | --- |
//! | 0 | stopped as asked, also where the grace period ran out and connections were cut (a warning says how many) |
//! | 1 | could not start: the reason is on stderr, nothing was announced |
//! | 128 + n | a second signal, number n, ended it at once: 130 for SIGINT, 143 for SIGTERM |
//!
//! A runtime that is dropped waits for its blocking tasks. A program whose `spawn_blocking` work may hang should end
//! its runtime with [`shutdown_timeout`](tokio::runtime::Runtime::shutdown_timeout).
//!
//! # Features
//!
//! `init-tracing` (default): [`init_tracing`], which needs `tracing-subscriber`.

mod admission;
mod announce;
mod bind;
mod connections;
mod error;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzed;
mod health;
mod host_environment;
mod inherited_listener;
mod lifeline;
mod limits;
#[cfg(feature = "init-tracing")]
mod logging;
#[cfg(windows)]
mod named_pipe;
mod origins;
#[cfg(unix)]
mod peer_credentials;
mod shutdown;
mod sidecar;
mod signals;

pub use axum;

pub use error::{Error, Result};
pub use limits::Limits;
#[cfg(feature = "init-tracing")]
pub use logging::init_tracing;
pub use shutdown::Shutdown;
pub use sidecar::Sidecar;

/// Serves `router` as a sidecar of `app`, with default settings: [`Sidecar::serve`] in one call.
///
/// # Errors
/// When the sidecar cannot start.
pub async fn serve(app: impl Into<String>, router: axum::Router) -> Result {
    Sidecar::new(app).serve(router).await
}
