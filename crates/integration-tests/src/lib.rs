//! What the tests share.

#[cfg(target_os = "linux")]
mod alone;
#[cfg(unix)]
pub mod doomed;
#[cfg(target_os = "linux")]
mod marked;
#[cfg(target_os = "linux")]
pub mod orphans;
#[cfg(target_os = "linux")]
mod tree;
#[cfg(target_os = "linux")]
mod witness;

#[cfg(target_os = "linux")]
pub use alone::{alone, alone_with};
#[cfg(target_os = "linux")]
pub use marked::{Living, Mark};
#[cfg(target_os = "linux")]
pub use tree::Tree;
#[cfg(target_os = "linux")]
pub use witness::{Contact, Witness};

#[cfg(all(target_os = "linux", feature = "desktop"))]
pub mod browser;
#[cfg(all(target_os = "linux", feature = "desktop"))]
pub mod webview;

use std::{future::Future, time::Duration};

/// How long a test may take before it counts as hanging. Nothing is ever expected to take this long, whatever else the
/// machine does meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the body of a test on a runtime with a worker of its own, and turns a hang into a failure.
///
/// # Panics
/// When the body does, or hangs.
pub fn run(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("the system has the resources for a test");
    let finished = runtime.block_on(async { tokio::time::timeout(PATIENCE, body).await.is_ok() });
    assert!(finished, "the test hangs: it was given up after {} s", PATIENCE.as_secs());
}
