//! The guard: a small process between an app and one sidecar, which outlives the app just long enough to clean up.
//!
//! This crate holds the program as bytes, [`PROGRAM`]; `program/main.rs` is its source and describes how it is used. The
//! supervisor runs it from memory or from a file of a moment, so that there is none to bundle or to lose.

#[cfg(target_os = "macos")]
#[path = "../program/sys/processes.rs"]
#[expect(unsafe_code, reason = "std knows of no process but its children")]
pub mod processes;

// It is plain parsing, and tested wherever the tests run.
#[cfg(all(test, not(target_os = "macos")))]
#[path = "../program/sys/procargs.rs"]
mod procargs;

/// The guard for this target, an executable; empty where it could not be compiled.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pillion-guard"));
