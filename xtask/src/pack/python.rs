//! The packages for PyPI: an sdist, and the wheel that is built from it. The tests of the SDK install such a wheel into an empty
//! environment, and serve from it.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
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
    // Some versions of hatchling name the files on stdout, others on stderr, where the errors are.
    cmd!(sh, "{python} -m hatchling build --directory {destination}").quiet().ignore_stdout().run()?;
    for file in &files {
        ensure!(file.is_file(), "hatchling made no file {}", file.display());
    }
    Ok(files.into())
}

/// The manifest, if it names no repository.
pub(super) fn without_repository(workspace: &Workspace) -> Result<Vec<String>> {
    let manifest = python::sdk(workspace).join("pyproject.toml");
    let text =
        fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    Ok(if has_repository(&text) { Vec::new() } else { vec![manifest.display().to_string()] })
}

/// Whether `[project.urls]` has `Repository` (<https://packaging.python.org/en/latest/specifications/well-known-project-urls/>).
fn has_repository(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[project.urls]").skip(1);
    lines
        .by_ref()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .any(|(key, _)| key.trim().trim_matches('"').eq_ignore_ascii_case("repository"))
}

#[cfg(test)]
mod tests {
    use super::has_repository;

    #[test]
    fn the_repository_is_one_of_the_project_s_urls() {
        assert!(has_repository("[project.urls]\n\nHomepage = \"a\"\nRepository = \"b\"\n"));
        assert!(!has_repository("[project.urls]\nHomepage = \"a\"\n[other]\nRepository = \"b\"\n"));
        assert!(!has_repository("Repository = \"b\"\n[project]\n# Repository = \"c\"\n"));
    }
}
