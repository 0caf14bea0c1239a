//! The backend, built and put where the Tauri configuration names it: `binaries/<name>-<triple>[.exe]`.
//!
//! From there tauri-build copies it beside the app, without the triple. On macOS and Windows that is the very path where
//! Cargo has put it: a copy of itself replaces it (tauri-build removes the old file first, so that nothing is truncated).

use std::{env, fs, path::Path};

use anyhow::{Context, Result};
use xshell::{Cmd, Shell, cmd};

use crate::workspace::{Workspace, cargo, program};

/// The backend as cargo names it, and as `bundle.externalBin` of tauri.conf.json does.
const BACKEND: &str = "backend";

/// The package that it is the program of.
pub(crate) const PACKAGE: &str = "aios-backend";

/// Its name in tauri.linux.conf.json: a package installs it into `/usr/bin`, where `backend` could be anybody's.
const BACKEND_ON_LINUX: &str = "aios-backend";

/// Builds the backend for `target` (this machine's own by default) and puts it in place.
pub(crate) fn build(workspace: &Workspace, release: bool, target: Option<&str>) -> Result<()> {
    compile(&workspace.shell()?, release, target).run()?;
    install(workspace, release, target)
}

/// The command that compiles the backend: for a release by itself, so that it carries nothing that only other members
/// of the workspace ask of its dependencies; otherwise with the others' features, so that these are compiled once.
pub(crate) fn compile<'sh>(sh: &'sh Shell, release: bool, target: Option<&str>) -> Cmd<'sh> {
    let command =
        if release { cmd!(sh, "cargo build --release --package {PACKAGE}") } else { cargo(sh, &["build"]) };
    let target = target.map(|triple| ["--target", triple]);
    command.args(["--bin", BACKEND]).args(target.iter().flatten())
}

/// Puts the compiled backend where the Tauri configuration names it.
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
        place(&built, &workspace.tauri().join(format!("binaries/{name}-{triple}{suffix}")))?;
    }
    Ok(())
}

/// Puts the development build of the backend beside that of the app, where it is run from, and where the next build of the
/// app takes it from.
pub(crate) fn hand_to_app(workspace: &Workspace) -> Result<()> {
    let folder = workspace.programs(false);
    let built = folder.join(program(BACKEND));
    for beside in names(env::consts::OS).iter().map(|name| folder.join(program(name))) {
        if beside != built {
            place(&built, &beside)?;
        }
    }
    install(workspace, false, None)
}

/// Takes the sidecars away, here and from beside the development build of the app, so that it uses the server that the
/// developer has started (see `BACKEND_PORT` in tauri-plugin-pillion).
pub(crate) fn remove(workspace: &Workspace) -> Result<()> {
    let beside = [BACKEND, BACKEND_ON_LINUX].map(|name| workspace.programs(false).join(program(name)));
    let placed = fs::read_dir(workspace.tauri().join("binaries")).into_iter().flatten().flatten();
    for file in placed.map(|entry| entry.path()).chain(beside).filter(|file| file.exists()) {
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

fn names(triple: &str) -> &'static [&'static str] {
    if triple.contains("linux") { &[BACKEND, BACKEND_ON_LINUX] } else { &[BACKEND] }
}

/// Copies `built` to `place`, in one step, and not at all when it is there already: a changed file would have Cargo
/// build the app again.
fn place(built: &Path, place: &Path) -> Result<()> {
    let new = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(place).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let folder = place.parent().context("a sidecar lies in a folder")?;
    fs::create_dir_all(folder)?;
    let unfinished = folder.join(".unfinished");
    fs::copy(built, &unfinished)?;
    fs::rename(&unfinished, place).with_context(|| format!("cannot write {}", place.display()))
}
