//! How the build script of `pillion-guard` behaves in the build of an app.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]
#![cfg(target_os = "linux")]

use std::{
    env,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

/// Builds the crate, as a dependency is built, with flags that make every link for the target fail.
#[expect(clippy::disallowed_methods, reason = "the test waits for the end of cargo")]
fn build(folder: &TempDir, allow_no_guard: &str) -> Output {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // With a target, the flags do not apply to the build script itself.
    let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--offline", "--quiet", "--package", "pillion-guard", "--target", &target])
        .arg("--target-dir")
        .arg(folder.path())
        .current_dir(crates.join("pillion-guard"))
        .env("RUSTFLAGS", "-C linker=/nonexistent/linker -C opt-level=0 -C lto=off")
        .env("PILLION_ALLOW_NO_GUARD", allow_no_guard)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("DOCS_RS")
        .output()
        .unwrap()
}

#[test]
fn a_guard_that_cannot_be_compiled_fails_the_build_unless_a_variable_allows_it() {
    let folder = tempfile::tempdir().unwrap();
    let refused = build(&folder, "");
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "the flags did not reach the guard's compiler");
    assert!(message.contains("/nonexistent/linker"), "{message}");
    assert!(message.contains("PILLION_ALLOW_NO_GUARD=1"), "{message}");

    let allowed = build(&folder, "1");
    assert!(allowed.status.success(), "{}", String::from_utf8_lossy(&allowed.stderr));
}
