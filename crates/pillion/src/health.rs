//! Asks a sidecar for its health: until it is ready, and then at intervals (liveness).

pub(crate) mod liveness;
mod open_probes;
pub(crate) mod probe;

use std::thread;

use tokio::sync::oneshot;

/// Runs blocking work on a thread of its own. `None` if the system allows no further thread: tokio's pool would panic then.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, result) = oneshot::channel();
    let run = move || drop(sender.send(work()));
    thread::Builder::new().name("health".to_owned()).spawn(run).ok()?;
    result.await.ok()
}
