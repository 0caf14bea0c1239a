//! `cargo xtask pack`: what would be published. `cargo xtask test` looks into each package, and uses those for npm as an
//! adopter does; `cargo xtask pack --check` also compiles each crate from its package.

mod crates;
mod npm;
mod python;

use std::{fs, path::PathBuf};

use anyhow::{Result, ensure};

use crate::workspace::Workspace;

/// The licence files, which each package needs.
const LICENSES: &[&str] = &["LICENSE-APACHE", "LICENSE-MIT"];

/// Builds the packages for crates.io, the npm registry and PyPI, and returns the files.
///
/// # Errors
///
/// Fails if a package lacks its README.md, a licence, or a file that it names.
pub(crate) fn run(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    Ok([crates::pack_all(workspace)?, npm::pack_all(workspace)?, python::pack_all(workspace)?].concat())
}

/// As [`run`] without PyPI, and installs each npm package into an empty project, and uses it there. Takes a minute. The tests of the
/// Python SDK do the same with its wheel.
///
/// # Errors
///
/// Fails also if an npm package does not work.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let (crates, packages) = (crates::pack_all(workspace)?, npm::pack_all(workspace)?);
    npm::check(workspace, &packages)?;
    Ok([crates, packages].concat())
}

/// As [`run`] and [`check`], and compiles each crate from its package and runs its tests there. Takes many minutes: Cargo compiles the
/// dependencies once for each crate that needs other features of them.
///
/// # Errors
///
/// Fails also if a crate does not compile, or if one of its tests fails.
pub(crate) fn check_all(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let mut files = check(workspace)?;
    files.extend(python::pack_all(workspace)?);
    crates::check(workspace)?;
    crates::test(workspace, &files)?;
    Ok(files)
}

/// Checks that each package names its repository. The registries resolve the relative links of a README.md there.
///
/// # Errors
///
/// Fails with the manifests that name none.
pub(crate) fn ensure_repository(workspace: &Workspace) -> Result<()> {
    let without = [
        crates::without_repository(workspace)?,
        npm::without_repository(workspace)?,
        python::without_repository(workspace)?,
    ]
    .concat();
    ensure!(
        without.is_empty(),
        "these manifests name no repository: {}; set `repository` in them, or `Repository` below `[project.urls]` of a pyproject.toml (CONTRIBUTING.md, \"Before the first release\")",
        without.join(", ")
    );
    Ok(())
}

/// The folder of the packages.
pub(crate) fn destination(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("xtask/packages");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
