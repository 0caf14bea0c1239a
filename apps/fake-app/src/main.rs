//! A Tauri app that ends in the way that a test chooses: `fake-host` of the integration tests, with a window and a webview. The
//! tests check what happens to its sidecar. Linux only, as those tests are.
//!
//! ```text
//! fake-app GRACE_MS PORT MOMENT DEATH [PROGRAM ARGUMENT…]
//! ```
//!
//! The moments, and the messages to the test at `PORT`, are those of `fake-host`. `PROGRAM` must be in the app's folder, as a
//! sidecar is; without it, the app has no sidecar. `page.rs` describes the options for its windows and pages.
#![cfg_attr(target_os = "linux", expect(clippy::unwrap_used, reason = "a test helper must fail loudly"))]

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
