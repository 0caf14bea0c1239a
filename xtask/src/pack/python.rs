//! The packages for PyPI: an sdist, and the wheel that is built from it. The tests of the SDK install such a wheel into an empty
//! environment, and serve from it.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use xshell::cmd;

use super::destination;
use crate::{
    python::{self, Environment},
    workspace::Workspace,
};

/// Builds the packages, and returns the files.
///
/// # Errors
///
/// Fails if Python or a package that it needs cannot be installed.
pub(super) fn pack_all(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let sh = workspace.shell()?;
    let Environment { python, .. } = Environment::find_or_install(workspace, &sh)?;
    let destination = destination(workspace)?;
    let _folder = sh.push_dir(python::sdk(workspace));
    // <https://packaging.python.org/en/latest/specifications/>: the names of an sdist and of a wheel without native code.
    let version = env!("CARGO_PKG_VERSION");
    let files = [format!("pillion-{version}.tar.gz"), format!("pillion-{version}-py3-none-any.whl")]
        .map(|name| destination.join(name));
    for file in &files {
        sh.remove_path(file)?;
    }
    // Some versions of hatchling name the files on stdout, others on stderr.
    cmd!(sh, "{python} -m hatchling build --directory {destination}").quiet().ignore_stderr().read()?;
    for file in &files {
        ensure!(file.is_file(), "hatchling made no file {}", file.display());
    }
    Ok(files.into())
}
