//! The AIOS backend. The app starts it as a sidecar; for development, start it by hand.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod sys;

use pillion_server::Sidecar;

// Two workers, so that `/health` answers while a handler computes. A `current_thread` runtime would announce earlier and use less
// memory. More than two workers would cost memory without any benefit.
#[tokio::main(worker_threads = 2)]
async fn main() -> pillion_server::Result {
    pillion_server::init_tracing();
    Sidecar::new("AIOS").version(env!("CARGO_PKG_VERSION")).serve(aios_backend::routes().into()).await
}
