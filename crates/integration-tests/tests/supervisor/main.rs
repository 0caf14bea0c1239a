//! The supervisor with real processes, signals, pipes and sockets: one module per guarantee.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

mod announcement;
mod attach;
mod control;
mod diagnosis;
mod exit;
mod exit_report;
mod fleet;
mod handles;
mod handover;
mod inherited_environment;
mod launch;
mod leaks;
mod liveness;
mod log_files;
mod logs;
mod max_memory;
mod mismatch;
mod notify;
mod on_demand;
mod output;
mod placeholders;
mod port;
#[cfg(target_os = "linux")]
mod port_owner;
mod progress;
mod python;
mod readiness;
mod ready_check;
mod resource_exhaustion;
mod restart;
mod restart_to;
mod restart_with;
#[cfg(target_os = "linux")]
mod sandbox;
mod spans;
mod stop;
mod stop_request;
mod support;
mod swap;
mod terminal;
#[cfg(target_os = "linux")]
mod unanswered_probes;
mod usage;
mod watchdog;
