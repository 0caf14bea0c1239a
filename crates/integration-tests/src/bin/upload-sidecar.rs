//! A sidecar on `pillion-server` whose `POST /` reads the whole body, so that half a body is a request in flight.

use axum::{Router, routing::post};

#[tokio::main(worker_threads = 2)]
async fn main() -> pillion_server::Result {
    let read = |body: String| async move { format!("{} bytes", body.len()) };
    pillion_server::serve("Uploads", Router::new().route("/", post(read))).await
}
