//! How the build script of `pillion-guard` behaves in the build of an app.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]
#![cfg(target_os = "linux")]

use std::{
    env,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

/// Builds the crate, as a dependency is built, with these flags for the target.
fn build(folder: &TempDir, flags: &str, allow_no_guard: &str) -> Output {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // With a target, the flags do not apply to the build script itself.
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--offline", "--quiet", "--package", "pillion-guard", "--target", &host()])
        .arg("--target-dir")
        .arg(folder.path())
        .current_dir(crates.join("pillion-guard"))
        .env("RUSTFLAGS", flags)
        .env("PILLION_ALLOW_NO_GUARD", allow_no_guard)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("DOCS_RS")
        .output()
        .unwrap()
}

/// The target of this system, such as `x86_64-unknown-linux-gnu`.
fn host() -> String {
    let version = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

#[test]
fn a_guard_that_cannot_be_compiled_fails_the_build_unless_a_variable_allows_it() {
    let folder = tempfile::tempdir().unwrap();
    let no_linker = "-C linker=/nonexistent/linker";
    let refused = build(&folder, no_linker, "");
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "the flags did not reach the guard's compiler");
    assert!(message.contains("/nonexistent/linker"), "{message}");
    assert!(message.contains("PILLION_ALLOW_NO_GUARD=1"), "{message}");

    let allowed = build(&folder, no_linker, "1");
    assert!(allowed.status.success(), "{}", String::from_utf8_lossy(&allowed.stderr));
}

#[test]
fn flags_that_are_about_the_app_alone_do_not_reach_the_guard() {
    let folder = tempfile::tempdir().unwrap();
    // Each of them contradicts the guard's own flags, or would make it write files of its own.
    let built = build(&folder, "-Cprefer-dynamic -C embed-bitcode=no --codegen instrument-coverage", "");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}
