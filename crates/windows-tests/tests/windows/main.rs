//! The guarantees on Windows, with real processes. `cargo xtask wine` runs these tests on Linux.

#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

mod app_deaths;
mod lifecycle;
mod named_pipe_sidecar;
mod own_guard;
mod stop;
mod support;
mod usage;
