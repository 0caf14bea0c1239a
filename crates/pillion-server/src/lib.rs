//! Runs an [axum] router as a sidecar: a local server that a desktop app starts, finds and stops.
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
//! [`Sidecar`] takes settings, [`Limits`] bounds what a client may use, and [`Shutdown`] tells a long-lived handler that the
//! sidecar stops.
//!
//! # What you get
//!
//! - **A port** of 127.0.0.1. The system chooses it, and the sidecar skips ports that browsers refuse to call. If `PORT` is
//!   set, the sidecar takes that port or fails with a clear error. If the host passes a listener (`LISTEN_FDS`), the sidecar
//!   serves that one, so the port survives a crash. The listener may be a Unix domain socket: then the sidecar has no port,
//!   and rejects other users by their credentials. On Windows the host may name a pipe instead (`PILLION_PIPE`), which other
//!   users cannot open.
//! - **The announcement:** exactly one line on stdout, `BACKEND_PORT:{port}` or `BACKEND_SOCKET:3` (on Windows
//!   `BACKEND_SOCKET:pipe`), once the sidecar accepts connections. Print nothing else to stdout; text for people goes to
//!   stderr, through `tracing`. [`progress`] says how far a long start is.
//! - **Health.** `GET /health` answers with status, app, version, clock, uptime, and the instance of this run. The sidecar adds
//!   this route to your router, outside your layers. Your fallback stays yours. A router with its own `GET /health` is an
//!   error: [`Error::HealthTaken`].
//! - **Privacy.** A request reaches your router only if its `Host` is this server (against DNS rebinding), its `Origin`, if
//!   any, is a page of the app, and it carries the token from `PILLION_TOKEN`. Other requests get 400, 403 or 401. If you
//!   start the sidecar by hand, without a token, it serves every request that passes the first two checks, for example from
//!   `curl`. A client sends the token as `Authorization: Bearer {token}`, or as the WebSocket subprotocol
//!   `pillion.bearer.{token}` beside `pillion`. Your handlers see neither. A health request without the token learns only
//!   that the sidecar is alive.
//! - **CORS** for the app's own pages, with the origins of every platform. The host may set another list in
//!   `PILLION_ALLOWED_ORIGINS`. Your router needs no `CorsLayer`.
//! - **Limits** on connections, heads, bodies and time, each with a clear answer: [`Limits`].
//! - **A graceful stop** on SIGINT, SIGTERM (on Windows Ctrl+C, Ctrl+Break), or the end of a stdin that is a pipe or a
//!   socket. The sidecar accepts no new connections, closes idle ones, and finishes requests in flight within the grace
//!   period. It ignores a stdin that is a terminal, a file or `/dev/null`. The handler of an upgraded connection (WebSocket)
//!   has to end it itself: see [`Shutdown`].
//!
//! # Exit status
//!
//! | status | meaning, if `main` returns [`Result`] |
//! | --- | --- |
//! | 0 | the sidecar stopped on request; if the grace period expired, it cut connections and logged their number |
//! | 1 | the sidecar could not start: the reason is on stderr, and it announced nothing |
//! | 128 + n | a second signal, with number n, ended the sidecar at once: 130 for SIGINT, 143 for SIGTERM; after the end of stdin, signals change nothing |
//!
//! Dropping a runtime waits for its blocking tasks. A program whose `spawn_blocking` work may hang should end its runtime with
//! [`shutdown_timeout`](tokio::runtime::Runtime::shutdown_timeout).
//!
//! # Features
//!
//! - `init-tracing` (default): [`init_tracing`], which needs `tracing-subscriber`.
//! - `openapi`: the module `openapi`, for programs that describe their router with [utoipa](https://docs.rs/utoipa).

mod admission;
mod announce;
mod bind;
mod client_stream;
mod connections;
mod error;
// Outside of this folder, so that the published package does not contain it.
#[cfg(pillion_fuzzing)]
#[doc(hidden)]
#[path = "../../../fuzz/bodies/server.rs"]
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
#[cfg(feature = "openapi")]
pub mod openapi;
mod origins;
#[cfg(unix)]
mod peer_credentials;
mod pool;
mod shutdown;
mod sidecar;
mod signals;

pub use axum;

pub use announce::progress;
pub use error::{Error, Result};
pub use limits::Limits;
#[cfg(feature = "init-tracing")]
pub use logging::init_tracing;
pub use shutdown::Shutdown;
pub use sidecar::Sidecar;

/// Serves `router` as a sidecar of the app `app`, with default settings: [`Sidecar::serve`] in one call.
///
/// ```no_run
/// # async fn run() -> pillion_server::Result {
/// pillion_server::serve("Hello", axum::Router::new()).await
/// # }
/// ```
///
/// # Errors
/// Returns an error if the sidecar cannot start, as [`Sidecar::serve`] does.
pub async fn serve(app: impl Into<String>, router: axum::Router) -> Result {
    Sidecar::new(app).serve(router).await
}

// Compiles the examples of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
