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
    let printed = cmd!(sh, "{python} -m hatchling build --directory {destination}").quiet().read()?;
    let files: Vec<_> = printed.lines().map(|line| destination.join(line.trim())).collect();
    for file in &files {
        ensure!(file.is_file(), "hatchling printed {}, but made no such file", file.display());
    }
    ensure!(files.len() == 2, "hatchling made not an sdist and a wheel, but printed {printed:?}");
    Ok(files)
}
