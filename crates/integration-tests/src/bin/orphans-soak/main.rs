//! `cargo xtask soak orphans`: random deaths of apps with random sidecars at random moments, and a table of what was left.
//!
//! A seed and a round's number make the same choices again; where exactly each process has come to by then is the
//! machine's. `fake-host` and its kin are expected beside this program.

#![cfg_attr(
    not(target_os = "linux"),
    expect(clippy::print_stderr, reason = "a command-line tool talks to a person")
)]

#[cfg(target_os = "linux")]
mod choice;
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
    eprintln!("orphans-soak: survivors are looked for in /proc, which only Linux has");
    ExitCode::FAILURE
}
