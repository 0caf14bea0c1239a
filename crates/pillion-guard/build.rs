//! Compiles the guard, a program without dependencies. Its bytes become part of every program that links this crate, so
//! that an app has no extra file to bundle, name or sign.
//!
//! This script calls rustc directly, because a package cannot depend on the binary of another package (RFC 3028 is
//! unstable).

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Set to 1, it allows a build without a guard. The supervisor then works without one, and says so at run time.
const ALLOW_NO_GUARD: &str = "PILLION_ALLOW_NO_GUARD";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=program");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={ALLOW_NO_GUARD}");
    println!("cargo:rerun-if-env-changed=DOCS_RS");
    let output = PathBuf::from(env::var("OUT_DIR")?).join("pillion-guard");
    if env::var("CARGO_CFG_TARGET_FAMILY")? != "unix" {
        return Ok(fs::write(output, [])?);
    }
    if compiler(&output)?.status()?.success() {
        return Ok(());
    }
    // A warning would not do: cargo does not show those of dependencies from a registry.
    // docs.rs documents other targets without their linkers.
    if env::var(ALLOW_NO_GUARD).is_ok_and(|value| value == "1") || env::var_os("DOCS_RS").is_some() {
        return Ok(fs::write(output, [])?);
    }
    let target = env::var("TARGET")?;
    Err(format!(
        "rustc cannot compile the guard for {target}; its message is above. Without the guard, a killed app can leave processes of \
         its sidecars behind. Install the standard library (`rustup target add {target}`) and a linker for this target, or set \
         {ALLOW_NO_GUARD}=1 to build without the guard."
    )
    .into())
}

/// The command that compiles the guard to `output`, with the flags that cargo passes to crates for this target.
fn compiler(output: &Path) -> Result<Command, env::VarError> {
    let mut rustc = Command::new(env::var("RUSTC")?);
    rustc
        .args(["--edition", "2024", "--crate-name", "pillion_guard", "--crate-type", "bin"])
        .args(["-C", "opt-level=s", "-C", "lto=fat", "-C", "panic=abort"])
        .args(["--target", &env::var("TARGET")?])
        .arg("-o")
        .arg(output)
        .arg("program/main.rs");
    // On macOS the linker signs its output, and Apple silicon runs signed code only. Stripping could break the signature.
    if env::var("CARGO_CFG_TARGET_OS")? != "macos" {
        rustc.args(["-C", "strip=symbols"]);
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    // RUSTFLAGS and `rustflags` of cargo's configuration, separated by 0x1f (Cargo's reference, "Environment variables").
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    // As cargo does for dependencies: `-D warnings` of an app must not fail on a lint of a later compiler.
    rustc.args(["--cap-lints", "warn"]);
    Ok(rustc)
}
