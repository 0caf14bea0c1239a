//! AIOS with another backend than its own.

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::App;

/// Starts a copy of AIOS whose backend is this Node program. The backend lies beside the app, under the name of its sidecar, as a
/// package installs it. Keep the folder for as long as the app runs.
///
/// # Errors
/// `AIOS_APP` is unset, a file cannot be written, or the app did not start.
pub async fn launch_aios_with_node_backend(server: &Path) -> Result<(TempDir, App)> {
    let folder = tempfile::tempdir()?;
    let built =
        env::var_os("AIOS_APP").context("AIOS_APP must name the built app: use `cargo xtask test`")?;
    let app = folder.path().join("aios");
    fs::copy(built, &app)?;
    let sidecar = folder.path().join("aios-backend");
    fs::write(&sidecar, format!("#!/bin/sh\nexec node '{}'\n", server.display()))?;
    fs::set_permissions(&sidecar, fs::Permissions::from_mode(0o755))?;
    let app = App::launch(&app).await?;
    Ok((folder, app))
}
