//! Compiles the guard, a program without dependencies. Its bytes become part of every program that links this crate, so
//! that an app has no extra file to bundle, name or sign.
//!
//! This script calls rustc directly, because a package cannot depend on the binary of another package (RFC 3028 is
//! unstable). If rustc cannot compile for the target, for example because the standard library is being built from
//! source, the bytes are empty. The supervisor then works without a guard and reports it at run time.

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
    // On macOS the linker signs its output, and Apple silicon runs signed code only. Stripping could break the signature.
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
