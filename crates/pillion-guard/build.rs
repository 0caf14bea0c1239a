//! Compiles the guard, a program without dependencies, and the light guard. Their bytes become part of every program that links this
//! crate, so that an app has no extra file to bundle, name or sign.
//!
//! This script calls rustc directly, because a package cannot depend on the binary of another package (RFC 3028 is
//! unstable).

#[path = "build/elf.rs"]
mod elf;

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
    println!("cargo:rustc-check-cfg=cfg(pillion_light)");
    println!("cargo:rerun-if-changed=light");
    println!("cargo:rerun-if-changed=program");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-env-changed={ALLOW_NO_GUARD}");
    println!("cargo:rerun-if-env-changed=DOCS_RS");
    // The oldest macOS that the guard runs on: `tauri build` sets it from `bundle.macOS.minimumSystemVersion`.
    println!("cargo:rerun-if-env-changed=MACOSX_DEPLOYMENT_TARGET");
    let output = PathBuf::from(env::var("OUT_DIR")?).join("pillion-guard");
    let light = output.with_file_name("pillion-guard-light");
    // New files, because the old ones may be hard links, by which copies of a build directory share them.
    for old in [&output, &light] {
        let _ = fs::remove_file(old);
    }
    fs::write(&light, [])?;
    if env::var("CARGO_CFG_TARGET_FAMILY")? != "unix" {
        return Ok(fs::write(output, [])?);
    }
    if full_compiler(&output)?.status()?.success() {
        return compile_light(&light);
    }
    // A warning would not do: cargo does not show those of dependencies from a registry.
    // docs.rs documents other targets without their linkers.
    if env::var(ALLOW_NO_GUARD).is_ok_and(|value| value == "1") || env::var_os("DOCS_RS").is_some() {
        return Ok(fs::write(output, [])?);
    }
    let target = env::var("TARGET")?;
    Err(format!(
        "rustc cannot compile the guard for {target}; its message is above. Without the guard, a killed app can leave processes of \
         its sidecars behind. Install the standard library (`rustup target add {target}`) and a linker for this target, look at the flags for \
         linker and target in RUSTFLAGS, or set {ALLOW_NO_GUARD}=1 to build without the guard."
    )
    .into())
}

/// Compiles the light guard, where there is one. Without it the full guard does everything, so that a failure is no error.
fn compile_light(output: &Path) -> Result<(), Box<dyn Error>> {
    let system = (env::var("CARGO_CFG_TARGET_OS")?, env::var("CARGO_CFG_TARGET_ARCH")?);
    if (system.0.as_str(), system.1.as_str()) != ("linux", "x86_64")
        || env::var("CARGO_CFG_TARGET_POINTER_WIDTH")? != "64"
    {
        return Ok(());
    }
    let mut rustc = compiler("light/main.rs", output)?;
    rustc.args(["-C", "lto=fat"]);
    // The light guard brings its own start and relocates itself: the linker must add neither a loader nor a C library.
    rustc.args(["--cfg", "pillion_light", "-C", "strip=symbols"]);
    rustc.args(["-C", "relocation-model=pie", "-C", "target-feature=+crt-static"]);
    for argument in ["-nostartfiles", "-nostdlib", "-static-pie"] {
        rustc.arg("-C").arg(format!("link-arg={argument}"));
    }
    let why = match rustc.output() {
        Ok(compiled) if compiled.status.success() => match unusable(output)? {
            None => return Ok(()),
            Some(why) => why.to_owned(),
        },
        Ok(compiled) => {
            String::from_utf8_lossy(&compiled.stderr).lines().next().unwrap_or_default().to_owned()
        }
        Err(error) => error.to_string(),
    };
    fs::write(output, [])?;
    println!(
        "cargo:warning=the light guard cannot be compiled, so that starts take longer and guards more memory: {why}"
    );
    Ok(())
}

/// Why the light guard that was compiled to `output` would not run. A linker may have done something else than it was told.
fn unusable(output: &Path) -> Result<Option<&'static str>, env::VarError> {
    if !fs::read(output).is_ok_and(|program| elf::is_self_contained(&program)) {
        return Ok(Some("it needs a loader"));
    }
    let native = env::var("HOST")? == env::var("TARGET")?;
    // Without arguments it refuses to work.
    let runs = || Command::new(output).status().is_ok_and(|status| status.code() == Some(2));
    Ok((native && !runs()).then_some("it does not run"))
}

/// The command that compiles the guard to `output`.
fn full_compiler(output: &Path) -> Result<Command, env::VarError> {
    let mut rustc = compiler("program/main.rs", output)?;
    // Link-time optimization takes half of the time, and makes the guard 70 KB smaller: not in a build that is not optimized itself.
    if env::var("OPT_LEVEL")? != "0" {
        rustc.args(["-C", "lto=fat"]);
    }
    // On macOS the linker signs its output, and Apple silicon runs signed code only. Stripping could break the signature.
    if env::var("CARGO_CFG_TARGET_OS")? != "macos" {
        rustc.args(["-C", "strip=symbols"]);
    }
    Ok(rustc)
}

/// The command that compiles a program to `output`, with the flags of the build that say how to link for the target, and for which
/// processor.
fn compiler(source: &str, output: &Path) -> Result<Command, env::VarError> {
    let mut rustc = Command::new(env::var("RUSTC")?);
    rustc
        .args(["--edition", "2024", "--crate-name", "pillion_guard", "--crate-type", "bin"])
        .args(["-C", "opt-level=s", "-C", "codegen-units=1", "-C", "panic=abort"])
        .args(["--target", &env::var("TARGET")?])
        .arg("-o")
        .arg(output)
        .arg(source);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    // RUSTFLAGS and `rustflags` of cargo's configuration, separated by 0x1f (Cargo's reference, "Environment variables").
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags_for_target(flags.split('\x1f')));
    // As cargo does for dependencies: `-D warnings` of an app must not fail on a lint of a later compiler.
    rustc.args(["--cap-lints", "warn"]);
    Ok(rustc)
}

/// The flags that a program for the target needs. Others are about the app, and can contradict those of the guard: coverage, dynamic
/// linking, another panic strategy.
fn flags_for_target<'a>(flags: impl Iterator<Item = &'a str>) -> Vec<String> {
    const OPTIONS: [&str; 8] = [
        "link-arg",
        "link-args",
        "link-self-contained",
        "linker",
        "linker-flavor",
        "relocation-model",
        "target-cpu",
        "target-feature",
    ];
    let mut chosen = Vec::new();
    let mut flags = flags;
    while let Some(flag) = flags.next() {
        let after = |prefixes: [&str; 3]| prefixes.iter().find_map(|prefix| flag.strip_prefix(prefix));
        if let Some(rest) = after(["--codegen=", "--codegen", "-C"]) {
            let option = if rest.is_empty() { flags.next().unwrap_or_default() } else { rest };
            let name = option.split('=').next().unwrap_or_default().replace('_', "-");
            if OPTIONS.contains(&name.as_str()) {
                chosen.extend(["-C".to_owned(), option.to_owned()]);
            }
        } else if let Some(rest) = after(["--sysroot=", "--sysroot", "-L"]) {
            chosen.push(flag.to_owned());
            if rest.is_empty() {
                chosen.extend(flags.next().map(str::to_owned));
            }
        }
    }
    chosen
}
