//! `pillion check` as its users see it: what it says of correct sidecars, of those that break one rule, and of other programs.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

mod command;
mod mutants;
mod programs;
mod support;
