//! `cargo xtask bench`: what pillion and AIOS cost, measured in one run against what a developer has without them.
//!
//! Nothing here judges: it reports medians and ratios, and tests elsewhere hold the guarantees. A part that cannot run
//! on this machine says so in the report.

#[cfg(target_os = "linux")]
mod suite;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    suite::main()
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::print_stderr, reason = "a command-line tool talks to a person")]
fn main() -> std::process::ExitCode {
    eprintln!("the benchmark reads /proc and drives Xvfb: it runs on Linux alone");
    std::process::ExitCode::FAILURE
}
