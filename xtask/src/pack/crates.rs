//! The packages for crates.io: <https://doc.rust-lang.org/cargo/commands/cargo-package.html>.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

use super::{LICENSES, destination};
use crate::workspace::Workspace;

/// A crate that can be published.
struct Crate {
    name: String,
    version: String,
    folder: PathBuf,
    has_repository: bool,
}

/// Packs each crate that can be published, without compiling it.
pub(super) fn pack_all(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let sh = workspace.shell()?;
    let crates = publishable(&sh)?;
    for it in &crates {
        complete(workspace, &sh, it).with_context(|| format!("the crate {} cannot be published", it.name))?;
    }
    package(&sh, &crates).arg("--no-verify").run()?;
    let destination = destination(workspace)?;
    let files = crates.iter().map(|it| {
        let file = format!("{}-{}.crate", it.name, it.version);
        let packed = destination.join(&file);
        fs::copy(workspace.target.join("package").join(&file), &packed)
            .with_context(|| format!("cargo package made no {file}"))?;
        Ok(packed)
    });
    files.collect()
}

/// The manifests without a repository.
pub(super) fn without_repository(workspace: &Workspace) -> Result<Vec<String>> {
    let crates = publishable(&workspace.shell()?)?;
    let without = crates.into_iter().filter(|it| !it.has_repository);
    Ok(without.map(|it| format!("{}/Cargo.toml", it.folder.display())).collect())
}

/// Unpacks each package and compiles it. Its dependencies on the other crates are their packages.
pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let sh = workspace.shell()?;
    package(&sh, &publishable(&sh)?).run().context("a crate does not compile from its package")
}

/// `cargo package` of the crates. Their order does not matter: Cargo sorts them, and offers each package to the next ones.
fn package<'sh>(sh: &'sh Shell, crates: &[Crate]) -> Cmd<'sh> {
    let names = crates.iter().flat_map(|it| ["--package", &it.name]);
    // A release is packed from a commit. Here, a developer checks what is not committed yet.
    cmd!(sh, "cargo package --quiet --allow-dirty").args(names).quiet()
}

/// The members of the workspace whose manifests do not say `publish = false`.
fn publishable(sh: &Shell) -> Result<Vec<Crate>> {
    let text = cmd!(sh, "cargo metadata --format-version 1 --no-deps").quiet().read()?;
    let mut metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"].take();
    let packages = packages.as_array().into_iter().flatten().filter(|package| package["publish"].is_null());
    let text = |value: &Value| {
        value.as_str().map(str::to_owned).context("`cargo metadata` prints a package without a text")
    };
    let crates = packages.map(|package| {
        let manifest = PathBuf::from(text(&package["manifest_path"])?);
        let folder = manifest.parent().context("a manifest lies in no folder")?.to_owned();
        let (name, version) = (text(&package["name"])?, text(&package["version"])?);
        Ok(Crate { name, version, folder, has_repository: package["repository"].is_string() })
    });
    crates.collect()
}

/// Checks that the package of a crate holds its README.md, and the licences of this repository.
fn complete(workspace: &Workspace, sh: &Shell, it: &Crate) -> Result<()> {
    let name = &it.name;
    let listed = cmd!(sh, "cargo package --quiet --allow-dirty --list --package {name}").quiet().read()?;
    for required in LICENSES.iter().chain(&["README.md"]) {
        ensure!(listed.lines().any(|line| line == *required), "its package lacks {required}");
    }
    for license in LICENSES {
        let (ours, its) = (fs::read(workspace.root.join(license))?, fs::read(it.folder.join(license))?);
        ensure!(ours == its, "its {license} differs from that of the repository: copy it");
    }
    Ok(())
}
