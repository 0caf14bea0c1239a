//! The supervisor against real processes, signals, pipes and sockets: one module per guarantee.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

mod attach;
mod environment;
mod exit;
mod fleet;
mod framing;
mod handles;
mod handover;
mod leaks;
mod liveness;
mod odd;
mod output;
#[cfg(target_os = "linux")]
mod port_owner;
mod python;
mod readiness;
mod restart;
mod stop;
mod support;
mod swap;
