//! Programs that Cargo installs: taken from the `PATH`, or else from the target folder, where they are put once.

use std::path::PathBuf;

use xshell::{Cmd, Shell, cmd};

use crate::workspace::{Workspace, on_path, program};

/// A program on crates.io.
pub(crate) struct Tool {
    /// The name of program and package.
    name: &'static str,
    /// The major version whose arguments are known here.
    version: &'static str,
}

/// Tauri's front of the webview's WebDriver.
pub(crate) const TAURI_DRIVER: Tool = Tool { name: "tauri-driver", version: "^2" };

/// Licences, sources, duplicates and advisories of what Cargo.lock names.
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "^0.20" };

/// Bills of materials, by the format's own project.
pub(crate) const CARGO_CYCLONEDX: Tool = Tool { name: "cargo-cyclonedx", version: "^0.5" };

impl Tool {
    /// Where it is, if it is there.
    pub(crate) fn find(&self, workspace: &Workspace) -> Option<PathBuf> {
        on_path(self.name).or_else(|| Some(self.place(workspace)).filter(|file| file.is_file()))
    }

    /// The command that puts it where it is found.
    pub(crate) fn install<'sh>(&self, workspace: &Workspace, sh: &'sh Shell) -> Cmd<'sh> {
        let (Self { name, version }, root) = (self, root(workspace));
        cmd!(sh, "cargo install {name} --locked --version {version} --root {root}")
    }

    /// Where it is once it was installed by us.
    pub(crate) fn place(&self, workspace: &Workspace) -> PathBuf {
        root(workspace).join("bin").join(program(self.name))
    }
}

fn root(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools")
}
