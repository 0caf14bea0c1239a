//! The AIOS backend: started by the app as a sidecar, or by hand for development.

use pillion_server::{Sidecar, axum::Router};

// Two workers, so that a handler that computes does not silence `/health`. A `current_thread` runtime would announce
// 0.15 ms earlier and take 0.5 MB less; workers beyond two cost memory and have nothing to do.
#[tokio::main(worker_threads = 2)]
async fn main() -> pillion_server::Result {
    pillion_server::init_tracing();
    Sidecar::new("AIOS").version(env!("CARGO_PKG_VERSION")).serve(Router::new()).await
}
