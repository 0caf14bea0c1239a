//! No survivor of a Tauri app: each way to end one, with sidecars that are hard to stop. The app is `fake-app` in a real
//! window. `cargo xtask test` provides it and a display.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

mod app_folder;
mod deaths;
mod exits;
mod pages;
mod second_launch;
