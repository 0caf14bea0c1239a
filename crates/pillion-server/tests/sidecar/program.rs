//! The sidecar under test.

use std::{env, thread, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::StatusCode,
    routing::{get, post},
};
use pillion_server::{Shutdown, Sidecar};

/// Makes this program the sidecar under test.
pub(crate) const ARGUMENT: &str = "--be-the-sidecar";
/// The grace period in milliseconds; an hour unless set, so that a stop that waits for it fails its test.
pub(crate) const GRACE: &str = "TEST_GRACE_MS";
/// Gives the router a `GET /health` of its own.
pub(crate) const OWN_HEALTH: &str = "TEST_OWN_HEALTH";

#[tokio::main]
pub(crate) async fn run() -> pillion_server::Result {
    pillion_server::init_tracing();
    let grace =
        env::var(GRACE).map_or(Duration::from_secs(3600), |ms| Duration::from_millis(ms.parse().unwrap()));
    let mut router = Router::new()
        .route("/echo", post(async |body: Body| body))
        .route("/until-stop", post(until_stop))
        .route("/block", post(block_for_ever))
        .fallback(async || (StatusCode::IM_A_TEAPOT, "the router's own fallback"));
    if env::var_os(OWN_HEALTH).is_some() {
        router = router.route("/health", get(async || "mine"));
    }
    Sidecar::new("Test").version("1.2.3").grace(grace).serve(router).await
}

/// Reading the body is what sends `100 Continue`, by which the test knows that this handler runs.
async fn until_stop(shutdown: Shutdown, body: Body) -> &'static str {
    let (_, ()) = tokio::join!(to_bytes(body, 1024), shutdown.requested());
    assert!(shutdown.is_requested());
    "the sidecar is stopping"
}

/// Leaves a blocking task behind, for which the runtime waits in vain when it is dropped.
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
