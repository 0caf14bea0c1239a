//! The sidecar under test.

use std::{
    env,
    io::Read,
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use pillion_server::{Limits, Shutdown, Sidecar};

/// Makes this program the sidecar under test.
pub(crate) const ARGUMENT: &str = "--be-the-sidecar";
/// The grace period in milliseconds. The default is an hour, so that a stop that waits for it fails its test.
pub(crate) const GRACE: &str = "TEST_GRACE_MS";
/// Adds the router's own `GET /health`.
pub(crate) const OWN_HEALTH: &str = "TEST_OWN_HEALTH";
/// Sets limits: `connections 2 head_ms 100 body 10 response_ms 100`, or some of these.
pub(crate) const LIMITS: &str = "TEST_LIMITS";
/// A port of the test. The sidecar connects to it, and waits for the end of that connection before it starts.
pub(crate) const HOLD: &str = "TEST_HOLD";
/// Serves the handlers that docs/protocol/README.md demands, instead of those of the other tests.
pub(crate) const VECTORS: &str = "TEST_VECTORS";
/// The path at which the sidecar tells how many requests have reached a handler.
pub(crate) const HITS: &str = "/hits";

/// How many requests have reached a handler or the fallback. Requests to [`HITS`] do not count.
static SEEN: AtomicUsize = AtomicUsize::new(0);

#[tokio::main]
pub(crate) async fn run() -> pillion_server::Result {
    let sidecar = Sidecar::new("Test").version("1.2.3");
    if let Ok(test) = env::var(HOLD) {
        TcpStream::connect(format!("127.0.0.1:{test}")).unwrap().read_to_end(&mut Vec::new()).unwrap();
    }
    pillion_server::init_tracing();
    let grace =
        env::var(GRACE).map_or(Duration::from_secs(3600), |ms| Duration::from_millis(ms.parse().unwrap()));
    let mut router = Router::new()
        .route("/echo", post(async |body: Body| body))
        .route("/length", post(async |body: Bytes| body.len().to_string()))
        .route("/headers", any(async |headers: HeaderMap| format!("{headers:?}")))
        .route("/events", get(async || ([(header::CONTENT_TYPE, "text/event-stream")], "data: 1\n\n")))
        .route("/socket", get(socket))
        .route("/child", get(child))
        .route("/descriptors", get(descriptors))
        .route("/never", get(std::future::pending::<()>))
        .route("/until-stop", post(until_stop))
        .route("/block", post(block_for_ever))
        .fallback(async || (StatusCode::IM_A_TEAPOT, "the router's own fallback"));
    if env::var_os(VECTORS).is_some() {
        router = Router::new()
            .route("/socket", get(socket))
            .fallback(async || ([("x-handler", "reached")], "the handler"));
    }
    if env::var_os(OWN_HEALTH).is_some() {
        router = router.route("/health", get(async || "mine"));
    }
    let router =
        router.layer(from_fn(count)).route(HITS, get(async || SEEN.load(Ordering::SeqCst).to_string()));
    sidecar.grace(grace).limits(limits()).serve(router).await
}

async fn count(request: Request, next: Next) -> Response {
    SEEN.fetch_add(1, Ordering::SeqCst);
    next.run(request).await
}

fn limits() -> Limits {
    let text = env::var(LIMITS).unwrap_or_default();
    let mut words = text.split_ascii_whitespace();
    let mut limits = Limits::default();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        let value: usize = value.parse().unwrap();
        let time = Duration::from_millis(value as u64);
        limits = match name {
            "connections" => limits.connections(value),
            "first_token_ms" => limits.first_token_timeout(time),
            "write_ms" => limits.write_timeout(time),
            "abandoned_ms" => limits.abandoned_timeout(time),
            "head_ms" => limits.head_timeout(time),
            "body" => limits.body_bytes(value),
            "response_ms" => limits.response_timeout(time),
            _ => panic!("unknown limit: {name}"),
        };
    }
    limits
}

/// Switches protocols as a WebSocket library does: chooses the subprotocol `chat` if the page offers it.
async fn socket(headers: HeaderMap) -> Response {
    if !headers.contains_key(header::UPGRADE) {
        return [("x-handler", "reached")].into_response();
    }
    let mut answer = HeaderMap::new();
    answer.insert(header::CONNECTION, "upgrade".parse().unwrap());
    answer.insert(header::UPGRADE, "websocket".parse().unwrap());
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offered: Vec<_> = lines.map(|value| value.to_str().unwrap()).collect();
    let offered = offered.join(", ");
    answer.insert("x-subprotocols", offered.parse().unwrap());
    if offered.split(", ").any(|offer| offer == "chat") {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, "chat".parse().unwrap());
    }
    (StatusCode::SWITCHING_PROTOCOLS, answer).into_response()
}

/// The environment of a child process.
async fn child() -> Vec<u8> {
    tokio::process::Command::new("env").output().await.unwrap().stdout
}

/// The open descriptors of a child process.
async fn descriptors() -> Vec<u8> {
    let mut list = tokio::process::Command::new("sh");
    list.args(["-c", "readlink /proc/$$/fd/*"]).output().await.unwrap().stdout
}

/// Reading the body sends `100 Continue`, which tells the test that this handler runs.
async fn until_stop(shutdown: Shutdown, body: Body) -> &'static str {
    let (_, ()) = tokio::join!(to_bytes(body, 1024), shutdown.requested());
    assert!(shutdown.is_requested());
    "the sidecar is stopping"
}

/// Leaves an endless blocking task, for which the runtime waits when it is dropped.
async fn block_for_ever() {
    let (started, starts) = tokio::sync::oneshot::channel();
    tokio::task::spawn_blocking(|| {
        started.send(()).unwrap();
        loop {
            thread::park();
        }
    });
    starts.await.unwrap();
}
