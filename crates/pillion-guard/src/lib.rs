//! The guard: a small process between an app and one sidecar, which outlives the app just long enough to clean up.
//!
//! This crate holds the program as bytes, [`PROGRAM`]; `program/main.rs` is its source and describes how it is used. The
//! supervisor runs it from memory, so that there is no file to bundle or to lose.

/// The guard for this target, an executable; empty where it could not be compiled.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pillion-guard"));
