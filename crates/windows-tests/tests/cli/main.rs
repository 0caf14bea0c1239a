//! The `pillion` command on Windows, as its users see it. `cargo xtask wine` runs these tests on Linux.

#![cfg(windows)]
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

mod outcomes;
mod project;
mod running_apps;
mod support;
