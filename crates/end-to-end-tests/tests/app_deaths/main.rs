//! No survivor of a Tauri app: each way in which one ends, against the sidecars that are hard to be rid of. The app is
//! `fake-app`, in a real window. `cargo xtask test` provides it and a display; that is why plain `cargo test` passes these
//! tests over.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

mod deaths;
mod exits;
mod second_launch;
mod stage;
