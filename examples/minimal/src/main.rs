//! The smallest sidecar: it answers one route.

use axum::{Router, routing::get};

#[tokio::main]
async fn main() -> pillion_server::Result {
    pillion_server::init_tracing();
    let router = Router::new().route("/", get(|| async { "Hello from the sidecar" }));
    pillion_server::serve("Hello", router).await
}
