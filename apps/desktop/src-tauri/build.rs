//! Runs tauri-build, even before the sidecar is built.

use std::error::Error;

use tauri_build::{AppManifest, Attributes};

fn main() -> Result<(), Box<dyn Error>> {
    pillion_build::allow_missing_sidecars();
    let commands = AppManifest::new().commands(&["get_backend_port"]);
    tauri_build::try_build(Attributes::new().app_manifest(commands))?;
    Ok(())
}
