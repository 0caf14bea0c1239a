//! Tests that measure their own process: its descriptors, its children, its memory.

use std::{env, process::Command};

/// Set in a process that exists for one test alone, to that test's name.
const ALONE: &str = "PILLION_TEST_ALONE";

/// Runs `body` in a process in which no other test runs, which `cargo test` does not give by itself. `name` is the full
/// name of the calling test, because the process is this program again, asked for that test.
///
/// # Panics
/// When `body` does, or when `name` names no test.
pub fn alone(name: &str, body: impl FnOnce()) {
    alone_with(name, &[], body);
}

/// The same in a process that has these environment variables.
///
/// # Panics
/// As above.
#[expect(clippy::print_stderr, reason = "what the test said belongs to this one's output")]
pub fn alone_with(name: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
    if env::var(ALONE).is_ok_and(|mine| mine == name) {
        return body();
    }
    let output = Command::new(env::current_exe().expect("a test is a program"))
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, name)
        .envs(variables.iter().copied())
        .output()
        .expect("a test can run itself");
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} failed in a process of its own");
    assert!(said.contains("1 passed"), "{name} is not the name of a test");
}
