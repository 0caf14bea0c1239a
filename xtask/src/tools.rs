//! Tools that `cargo install` provides. A tool comes from the `PATH`, or else from the target folder, where xtask installs it
//! once.

use std::path::PathBuf;

use xshell::{Cmd, Shell, cmd};

use crate::workspace::{Workspace, on_path, program};

/// A program on crates.io.
pub(crate) struct Tool {
    /// The name of the program and of its package.
    name: &'static str,
    /// The versions whose command line xtask knows.
    version: &'static str,
}

/// Starts a Tauri app and forwards WebDriver requests to its webview.
pub(crate) const TAURI_DRIVER: Tool = Tool { name: "tauri-driver", version: "^2" };

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
        let (Self { name, version }, root) = (self, root(workspace));
        cmd!(sh, "cargo install {name} --locked --version {version} --root {root}")
    }

    /// Returns the path that [`Tool::install`] installs to.
    pub(crate) fn installed_path(&self, workspace: &Workspace) -> PathBuf {
        root(workspace).join("bin").join(program(self.name))
    }
}

fn root(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools")
}
