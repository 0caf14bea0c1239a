//! Compiles the guard, a program without dependencies, so that its bytes travel inside whatever links this crate: an
//! ordinary build of an app carries it, with no file to bundle, name, sign or forget.
//!
//! rustc is called directly, because a package cannot depend on another one's program (RFC 3028 is unstable). Where it
//! cannot compile for the target, as when the standard library itself is being built from source, the bytes are empty;
//! the supervisor then works without a guard, and says so when it runs.

use std::{env, error::Error, fs, path::PathBuf, process::Command};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=program");
    println!("cargo:rerun-if-changed=build.rs");
    let output = PathBuf::from(env::var("OUT_DIR")?).join("pillion-guard");
    if env::var("CARGO_CFG_TARGET_FAMILY")? != "unix" {
        return Ok(fs::write(output, [])?);
    }
    let mut rustc = Command::new(env::var("RUSTC")?);
    rustc
        .args(["--edition", "2024", "--crate-name", "pillion_guard", "--crate-type", "bin"])
        .args(["-C", "opt-level=s", "-C", "lto=fat", "-C", "panic=abort"])
        .args(["--target", &env::var("TARGET")?])
        .arg("-o")
        .arg(&output)
        .arg("program/main.rs");
    // On macOS the linker signs what it writes, without which nothing runs on Apple silicon; strip might break the seal.
    if env::var("CARGO_CFG_TARGET_OS")? != "macos" {
        rustc.args(["-C", "strip=symbols"]);
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    if !rustc.status()?.success() {
        println!(
            "cargo:warning=the guard could not be compiled for this target: a killed app may leave its sidecars"
        );
        fs::write(output, [])?;
    }
    Ok(())
}
