//! Installs the front end's npm packages, and runs the scripts of package.json.

use std::fs;

use anyhow::{Context, Result};
use xshell::{Cmd, Shell, cmd};

use crate::workspace::Workspace;

/// On Windows, npm is a batch file, which can only be started by its full name.
const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

/// A copy of the lock file that `node_modules` was installed from.
const INSTALLED: &str = "node_modules/.xtask-installed-lock.json";

/// Runs `npm ci`, unless `node_modules` was already installed from the same lock file.
pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    let lock = fs::read(workspace.root.join("package-lock.json")).context("cannot read package-lock.json")?;
    let stamp = workspace.root.join(INSTALLED);
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let sh = workspace.shell()?;
    cmd!(sh, "{NPM} ci").run()?;
    fs::write(stamp, lock)?;
    Ok(())
}

/// Returns the command `npm <arguments>` at the root of the repository.
pub(crate) fn npm<'sh>(sh: &'sh Shell, arguments: &[&str]) -> Cmd<'sh> {
    cmd!(sh, "{NPM} {arguments...}")
}

/// Returns the command `tauri <arguments>` with the CLI version that package.json pins.
pub(crate) fn tauri<'sh>(sh: &'sh Shell, arguments: &[&str]) -> Cmd<'sh> {
    cmd!(sh, "{NPM} run tauri --workspace apps/desktop -- {arguments...}")
}
