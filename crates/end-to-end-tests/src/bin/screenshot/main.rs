//! `screenshot APP FILE`: starts AIOS, waits until its backend is connected, writes a screenshot of the window as PNG, and
//! closes the window. Exits with a failure and its reason if any of these steps fails.

#[cfg(target_os = "linux")]
mod capture;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    capture::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
