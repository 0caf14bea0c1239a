//! `cargo xtask bench`: the cost of pillion and AIOS, measured in one run with the alternatives that a developer has.
//!
//! The benchmark reports medians and ratios, and fails on none of them: tests elsewhere check the guarantees. The report names
//! each part that cannot run on this machine.

#[cfg(target_os = "linux")]
mod suite;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    suite::main()
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::print_stderr, reason = "a command-line tool talks to a person")]
fn main() -> std::process::ExitCode {
    eprintln!("the benchmark reads /proc and drives Xvfb: it runs only on Linux");
    std::process::ExitCode::FAILURE
}
