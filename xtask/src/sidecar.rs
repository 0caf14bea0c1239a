//! Builds the backend and copies it to the path that the Tauri configuration names: `binaries/<name>-<triple>[.exe]`.
//!
//! tauri-build copies it from there beside the app, without the triple. On macOS and Windows, that is the same path that
//! Cargo built it to, so that a copy replaces the original (tauri-build removes the old file first and truncates nothing).

use std::{env, fs, path::Path};

use anyhow::{Context, Result};
use xshell::{Cmd, Shell, cmd};

use crate::workspace::{Workspace, cargo, program};

/// The name of the backend's Cargo binary, and its name in `bundle.externalBin` of tauri.conf.json.
const BACKEND: &str = "backend";

/// The package of the backend.
pub(crate) const PACKAGE: &str = "aios-backend";

/// Its name in tauri.linux.conf.json. Linux packages install it into `/usr/bin`, where the name `backend` could collide with
/// another package.
const BACKEND_ON_LINUX: &str = "aios-backend";

/// Builds the backend for `target` (default: this machine's target) and copies it for the bundler.
pub(crate) fn build(workspace: &Workspace, release: bool, target: Option<&str>) -> Result<()> {
    compile(&workspace.shell()?, release, target).run()?;
    install(workspace, release, target)
}

/// What a release of the backend has besides the profile. The benchmark uses it, too.
const RELEASE_CONFIG: &str = "apps/backend/release.toml";

/// Returns the command that compiles the backend. A release is built alone, so that it has only the features that it needs.
/// A development build uses the features of the whole workspace, so that Cargo compiles the dependencies once.
pub(crate) fn compile<'sh>(sh: &'sh Shell, release: bool, target: Option<&str>) -> Cmd<'sh> {
    let command = if release {
        cmd!(sh, "cargo build --release --package {PACKAGE} --config {RELEASE_CONFIG}")
    } else {
        cargo(sh, &["build"])
    };
    let target = target.map(|triple| ["--target", triple]);
    command.args(["--bin", BACKEND]).args(target.iter().flatten())
}

/// Copies the compiled backend to the path that the Tauri configuration names.
pub(crate) fn install(workspace: &Workspace, release: bool, target: Option<&str>) -> Result<()> {
    let sh = workspace.shell()?;
    let triple = match target {
        Some(triple) => triple.to_owned(),
        None => cmd!(sh, "rustc --print host-tuple").quiet().read()?,
    };
    let suffix = if triple.contains("windows") { ".exe" } else { "" };
    let folder = target.map_or_else(|| workspace.target.clone(), |triple| workspace.target.join(triple));
    let built = folder.join(if release { "release" } else { "debug" }).join(format!("{BACKEND}{suffix}"));
    for name in names(&triple) {
        copy_if_changed(&built, &workspace.tauri().join(format!("binaries/{name}-{triple}{suffix}")))?;
    }
    Ok(())
}

/// Copies the development build of the backend beside the app, where the app starts it, and to the bundler's folder, where
/// the next build of the app expects it.
pub(crate) fn place_beside_app(workspace: &Workspace) -> Result<()> {
    let folder = workspace.programs(false);
    let built = folder.join(program(BACKEND));
    for beside in names(env::consts::OS).iter().map(|name| folder.join(program(name))) {
        if beside != built {
            copy_if_changed(&built, &beside)?;
        }
    }
    install(workspace, false, None)
}

fn names(triple: &str) -> &'static [&'static str] {
    if triple.contains("linux") { &[BACKEND, BACKEND_ON_LINUX] } else { &[BACKEND] }
}

/// Copies `built` to `destination` atomically. Does nothing if both have the same content, because Cargo rebuilds the app
/// after a change of the file's date.
fn copy_if_changed(built: &Path, destination: &Path) -> Result<()> {
    let new = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(destination).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let folder = destination.parent().context("the destination has no parent folder")?;
    fs::create_dir_all(folder)?;
    let unfinished = folder.join(".unfinished");
    fs::copy(built, &unfinished)?;
    fs::rename(&unfinished, destination).with_context(|| format!("cannot write {}", destination.display()))
}
