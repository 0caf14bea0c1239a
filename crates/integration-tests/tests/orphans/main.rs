//! No survivor: whatever kills the app, no process of its sidecar is alive 5 s later, and a cooperative sidecar was asked to
//! stop first.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

mod app;
mod command;
mod exit_report;
mod flatpak;
mod guard;
mod launchers;
#[cfg(target_arch = "x86_64")]
mod light_guard;
mod log_files;
mod own_guard;
mod promises;
mod stop_request;
mod support;
