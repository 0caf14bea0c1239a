//! The folders of this repository, and the one way in which xtask calls Cargo.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use xshell::{Cmd, Shell, cmd};

/// The features of every build by xtask. Cargo compiles the webview's dependencies once for each set of features, so xtask
/// uses one set only: the embedded front end and, on Linux, the guard.
const FEATURES: &str = if cfg!(target_os = "linux") {
    "aios/custom-protocol,pillion-guard/program"
} else {
    "aios/custom-protocol"
};

/// The repository and its build folder.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target directory. The developer can set it to any folder.
    pub(crate) target: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let sh = Shell::new()?;
        let text = cmd!(sh, "cargo metadata --format-version 1 --no-deps").quiet().read()?;
        let metadata: serde_json::Value = serde_json::from_str(&text)?;
        let folder = |key: &str| {
            metadata[key]
                .as_str()
                .map(PathBuf::from)
                .with_context(|| format!("`cargo metadata` prints no {key}"))
        };
        Ok(Self { root: folder("workspace_root")?, target: folder("target_directory")? })
    }

    /// Returns a shell whose current directory is the root of the repository.
    pub(crate) fn shell(&self) -> Result<Shell> {
        let sh = Shell::new()?;
        sh.change_dir(&self.root);
        Ok(sh)
    }

    /// As [`shell`](Self::shell), for commands whose summary lines xtask parses.
    pub(crate) fn shell_without_colors(&self) -> Result<Shell> {
        let sh = self.shell()?;
        for (name, value) in [("NO_COLOR", "1"), ("CARGO_TERM_COLOR", "never"), ("FORCE_COLOR", "0")] {
            sh.set_var(name, value);
        }
        Ok(sh)
    }

    /// Returns the folder of the compiled programs of a profile.
    pub(crate) fn programs(&self, release: bool) -> PathBuf {
        self.target.join(if release { "release" } else { "debug" })
    }

    /// Returns the folder of the Tauri project.
    pub(crate) fn tauri(&self) -> PathBuf {
        self.root.join("apps/desktop/src-tauri")
    }
}

/// Returns `cargo <command> --workspace` with the one set of features. The caller adds the targets to select.
pub(crate) fn cargo<'sh>(sh: &'sh Shell, command: &[&str]) -> Cmd<'sh> {
    cmd!(sh, "cargo {command...} --workspace --features {FEATURES}")
}

/// Returns a program's file name on this system.
pub(crate) fn program(name: &str) -> String {
    format!("{name}{}", env::consts::EXE_SUFFIX)
}

/// Returns the path of a program on the `PATH`, or `None`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let name = program(name);
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(&name)).find(|file: &PathBuf| Path::is_file(file))
}
