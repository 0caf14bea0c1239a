//! Hands the build to tauri-build, and makes it bearable in a clean clone.
//!
//! tauri-build fails when a `bundle.externalBin` file is absent, so that not even `cargo check` works before the
//! sidecar was built ([tauri#14602]). Here an absent sidecar is a warning: the build goes on without it, the app says
//! at run time what is missing, and `tauri build` still refuses to bundle. The next build sees the file when it is there.
//!
//! [tauri#14602]: https://github.com/tauri-apps/tauri/issues/14602

use std::{env, error::Error, fs, path::Path, process::Command};

use serde_json::{Value, json};
use tauri_build::{AppManifest, Attributes};
use tauri_utils::{config::parse, platform::Target, resources::external_binaries};

/// Where `cargo xtask sidecar` puts the sidecars, as `bundle.externalBin` names them.
const SIDECARS: &str = "binaries";

/// Says that a build script above this one has already looked for the sidecars.
const LOOKED: &str = "AIOS_BUILD_LOOKED_FOR_SIDECARS";

fn main() -> Result<(), Box<dyn Error>> {
    let missing = if env::var_os(LOOKED).is_some() { Vec::new() } else { missing_sidecars()? };
    if missing.is_empty() {
        let commands = AppManifest::new().commands(&["get_backend_port"]);
        tauri_build::try_build(Attributes::new().app_manifest(commands))?;
        return Ok(());
    }
    for file in &missing {
        println!(
            "cargo:warning=no sidecar at {file}: run `cargo xtask sidecar` before you run or bundle the app"
        );
    }
    // Cargo watches the folder, since it takes a watched file that is absent for changed in every build.
    fs::create_dir_all(SIDECARS)?;
    println!("cargo:rerun-if-changed={SIDECARS}");
    build_without_sidecars()
}

/// The sidecar files that the configuration names and that are not there.
fn missing_sidecars() -> Result<Vec<String>, Box<dyn Error>> {
    let triple = env::var("TARGET")?;
    let target = Target::from_triple(&triple);
    let (config, _) = parse::read_from(target, Path::new("."))?;
    let named: Vec<String> = match config.pointer("/bundle/externalBin") {
        Some(named) => serde_json::from_value(named.clone())?,
        None => Vec::new(),
    };
    Ok(external_binaries(&named, &triple, &target)
        .into_iter()
        .filter(|file| !Path::new(file).is_file())
        .collect())
}

/// Runs this very program again with a configuration that names no sidecar. tauri-build takes changes to the
/// configuration from its environment alone, and a process cannot safely change its own.
fn build_without_sidecars() -> Result<(), Box<dyn Error>> {
    let mut config: Value = match env::var("TAURI_CONFIG") {
        Ok(given) => serde_json::from_str(&given)?,
        Err(_) => json!({}),
    };
    config["bundle"]["externalBin"] = json!([]);
    let status = Command::new(env::current_exe()?)
        .env(LOOKED, "1")
        .env("TAURI_CONFIG", config.to_string())
        .status()?;
    if status.success() { Ok(()) } else { Err("tauri-build failed, see above".into()) }
}
