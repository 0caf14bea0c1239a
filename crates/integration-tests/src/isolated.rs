//! Tests that measure their own process: its descriptors, its children, its memory.

use std::{env, process::Command};

/// The environment variable that is set in a process which runs a single test. Its value is the name of that test.
const ISOLATED_TEST: &str = "PILLION_TEST_ISOLATED";

/// Runs `body` in a process in which no other test runs; `cargo test` alone does not give that. `name` is the full name of
/// the calling test: the process is this program again, with that test as its argument.
///
/// # Panics
/// If `body` panics, or if no test has this `name`.
pub fn isolated(name: &str, body: impl FnOnce()) {
    isolated_with(name, &[], body);
}

/// Like [`isolated`], in a process with these environment variables.
///
/// # Panics
/// As [`isolated`].
#[expect(clippy::print_stderr, reason = "the output of the process belongs to the output of this test")]
pub fn isolated_with(name: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
    if env::var(ISOLATED_TEST).is_ok_and(|test| test == name) {
        return body();
    }
    let output = Command::new(env::current_exe().expect("a test is a program"))
        .args([name, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(ISOLATED_TEST, name)
        .envs(variables.iter().copied())
        .output()
        .expect("a test can run itself");
    let stdout = String::from_utf8_lossy(&output.stdout);
    eprintln!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} failed in a process of its own");
    assert!(stdout.contains("1 passed"), "{name} is not the name of a test");
}
