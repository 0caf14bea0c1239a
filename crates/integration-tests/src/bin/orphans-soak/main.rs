//! `cargo xtask soak orphans`: random deaths of apps with random sidecars at random moments, and a table of the processes
//! that remained.
//!
//! The same seed and round make the same choices. How far each process has come at the moment of the death depends on the
//! machine. The soak expects `fake-host`, `baseline-host`, `pillion-under-test` and `fake-sidecar` in its own folder.

#![cfg_attr(
    not(target_os = "linux"),
    expect(clippy::print_stderr, reason = "a command-line tool talks to a person")
)]

#[cfg(target_os = "linux")]
mod choice;
#[cfg(target_os = "linux")]
#[cfg(target_os = "linux")]
mod soak;
#[cfg(target_os = "linux")]
mod tally;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    soak::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("orphans-soak: the search for survivors reads /proc, which only Linux has");
    ExitCode::FAILURE
}
