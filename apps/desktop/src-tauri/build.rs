//! Runs tauri-build, also before the sidecar is built.
//!
//! tauri-build fails if a `bundle.externalBin` file is absent, so that not even `cargo check` works in a clean clone
//! ([tauri#14602]). Here an absent sidecar is a warning: the build continues without it, the app reports the missing file at run
//! time, and `tauri build` still refuses to bundle. The next build uses the file once it exists.
//!
//! [tauri#14602]: https://github.com/tauri-apps/tauri/issues/14602

use std::{env, error::Error, fs, path::Path, process::Command};

use serde_json::{Value, json};
use tauri_build::{AppManifest, Attributes};
use tauri_utils::{config::parse, platform::Target, resources::external_binaries};

/// The folder where `cargo xtask sidecar` puts the sidecars, as in `bundle.externalBin`.
const SIDECARS: &str = "binaries";

/// Set by the outer build script for the inner one, which then does not check for sidecars again.
const CHECKED: &str = "AIOS_BUILD_CHECKED_SIDECARS";

fn main() -> Result<(), Box<dyn Error>> {
    let missing = if env::var_os(CHECKED).is_some() { Vec::new() } else { missing_sidecars()? };
    if missing.is_empty() {
        let commands = AppManifest::new().commands(&["get_backend_port"]);
        tauri_build::try_build(Attributes::new().app_manifest(commands))?;
        return Ok(());
    }
    for file in &missing {
        println!(
            "cargo:warning=there is no sidecar at {file}: run `cargo xtask sidecar` before you run or bundle the app"
        );
    }
    // Cargo watches the folder and not the files: it treats an absent file as changed in every build.
    fs::create_dir_all(SIDECARS)?;
    println!("cargo:rerun-if-changed={SIDECARS}");
    build_without_sidecars()
}

/// The sidecar files that the configuration names and that do not exist.
fn missing_sidecars() -> Result<Vec<String>, Box<dyn Error>> {
    let triple = env::var("TARGET")?;
    let target = Target::from_triple(&triple);
    let (config, _) = parse::read_from(target, Path::new("."))?;
    let names: Vec<String> = match config.pointer("/bundle/externalBin") {
        Some(names) => serde_json::from_value(names.clone())?,
        None => Vec::new(),
    };
    Ok(external_binaries(&names, &triple, &target)
        .into_iter()
        .filter(|file| !Path::new(file).is_file())
        .collect())
}

/// Runs this program again with a configuration without sidecars. tauri-build takes changes to the configuration only from its
/// environment, and a process cannot safely change its own environment.
fn build_without_sidecars() -> Result<(), Box<dyn Error>> {
    let mut config: Value = match env::var("TAURI_CONFIG") {
        Ok(config) => serde_json::from_str(&config)?,
        Err(_) => json!({}),
    };
    config["bundle"]["externalBin"] = json!([]);
    let status = Command::new(env::current_exe()?)
        .env(CHECKED, "1")
        .env("TAURI_CONFIG", config.to_string())
        .status()?;
    if status.success() { Ok(()) } else { Err("tauri-build failed: see its output above".into()) }
}
