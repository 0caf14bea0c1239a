//! The guard: a small process between an app and one sidecar. It outlives the app just long enough to clean up.
//!
//! This crate holds the program as bytes, [`PROGRAM`]. `program/guard.rs` is its source and describes how to use it. The
//! supervisor runs the program from memory or from a temporary file, so that an app has no extra file to bundle.

#[cfg(target_os = "macos")]
#[path = "../program/sys/processes.rs"]
#[expect(unsafe_code, reason = "std cannot list processes other than its children")]
#[expect(clippy::duplicate_mod, reason = "the guard has it as well, where it is not public")]
pub mod processes;

#[cfg(target_os = "linux")]
#[path = "../program/sys/proc_stat.rs"]
#[expect(clippy::duplicate_mod, reason = "the guard has it as well, where it is not public")]
pub mod proc_stat;

#[cfg(unix)]
#[path = "../program/decimal.rs"]
#[expect(clippy::duplicate_mod, reason = "the guard has it as well, where it is not public")]
pub mod decimal;
#[cfg(unix)]
#[path = "../program/guard_state.rs"]
#[expect(clippy::duplicate_mod, reason = "the guard has it as well, where it is not public")]
pub mod guard_state;
#[cfg(target_os = "linux")]
#[path = "../program/limits.rs"]
#[expect(clippy::duplicate_mod, reason = "the guard has it as well, where it is not public")]
pub mod limits;
#[cfg(unix)]
#[path = "../program/names.rs"]
#[cfg_attr(
    target_os = "linux",
    expect(clippy::duplicate_mod, reason = "the guard has it as well, where it is not public")
)]
pub mod names;

#[cfg(unix)]
#[path = "../program/guard.rs"]
pub mod program;

#[cfg(windows)]
#[path = "../program/http_stop.rs"]
pub mod http_stop;

#[path = "../program/log_lines/mod.rs"]
#[cfg_attr(unix, expect(clippy::duplicate_mod, reason = "the guard has it as well, where it is not public"))]
pub mod log_lines;

// Plain parsing and decisions, compiled here so that their tests run on every system.
#[cfg(all(test, not(target_os = "macos")))]
#[path = "../program/sys/pid_list.rs"]
mod pid_list;
#[cfg(all(test, not(target_os = "macos")))]
#[path = "../program/sys/procargs.rs"]
mod procargs;
#[cfg(all(test, not(target_os = "macos")))]
#[path = "../program/sys/search.rs"]
#[expect(unreachable_pub, reason = "it is public on macOS")]
mod search;

// Compiled here for their tests.
#[cfg(all(test, not(unix)))]
#[path = "../program/decimal.rs"]
mod decimal;
#[cfg(all(test, target_os = "linux"))]
#[path = "../build/elf.rs"]
mod elf;
#[cfg(all(test, not(unix)))]
#[expect(dead_code, reason = "both programs use more of it")]
#[path = "../program/guard_state.rs"]
mod guard_state;
#[cfg(all(test, target_os = "linux"))]
#[path = "../light/stop_signal.rs"]
mod stop_signal;
#[cfg(all(test, target_os = "linux"))]
#[path = "../light/text.rs"]
mod text;

/// The guard for this target, an executable; empty where the build script could not compile it.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pillion-guard"));

/// A light guard for this target, which executes [`PROGRAM`] when there is more to do than to see the end of a sidecar;
/// `light/main.rs` is its source. Empty where there is none.
pub const LIGHT_PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pillion-guard-light"));
