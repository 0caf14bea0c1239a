//! A Tauri app with a sidecar that dies as it is told: `fake-host` of the integration tests, with a window and a webview.
//! What becomes of the sidecar is what the test wants to know. Linux only, as those tests are.
//!
//! ```text
//! fake-app GRACE_MS PORT MOMENT DEATH [PROGRAM ARGUMENT…]
//! ```
//!
//! The moments and what it says to the test at `PORT` are those of `fake-host`. `PROGRAM` has to lie beside the app, as
//! sidecars do; without one the app has no sidecar. What tests want of its windows and their pages: see `page.rs`.
#![cfg_attr(target_os = "linux", expect(clippy::unwrap_used, reason = "a helper has to fail loudly"))]

#[cfg(target_os = "linux")]
mod app;
#[cfg(target_os = "linux")]
mod death;
#[cfg(target_os = "linux")]
mod page;

fn main() {
    #[cfg(target_os = "linux")]
    app::run();
}
