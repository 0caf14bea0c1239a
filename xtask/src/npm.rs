//! The front end's tools: installed once, then called by their scripts in package.json.

use std::fs;

use anyhow::{Context, Result};
use xshell::{Cmd, Shell, cmd};

use crate::workspace::Workspace;

/// npm is a batch file on Windows, which the system starts only by its full name.
const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

/// The lock file that `node_modules` was last installed from.
const INSTALLED: &str = "node_modules/.xtask-installed-lock.json";

/// `npm ci`, or nothing when `node_modules` was installed from this very lock file.
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

/// `npm <arguments>` at the root of the repository.
pub(crate) fn npm<'sh>(sh: &'sh Shell, arguments: &[&str]) -> Cmd<'sh> {
    cmd!(sh, "{NPM} {arguments...}")
}

/// `tauri <arguments>`, the CLI that package.json pins.
pub(crate) fn tauri<'sh>(sh: &'sh Shell, arguments: &[&str]) -> Cmd<'sh> {
    cmd!(sh, "{NPM} run tauri --workspace apps/desktop -- {arguments...}")
}
