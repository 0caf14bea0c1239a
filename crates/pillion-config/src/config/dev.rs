//! What runs during development.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ConfigError;
use crate::watch::WatchPatterns;

/// What runs instead of the program while the app is in development, that is, started by `tauri dev`.
///
/// `cwd` is relative to the project, the folder that contains `src-tauri`; `watch`, and a program that `command` names by a path, are
/// relative to `cwd`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct DevConfig {
    /// The program and its arguments, such as `["node", "--import", "tsx", "src/index.ts"]`, `["uv", "run", "main.py"]`,
    /// `["cargo", "run", "-p", "backend"]` or `["go", "run", "."]`. It replaces the program and `args`. It has ten minutes to
    /// become ready, or `readyTimeoutMs` if that is longer, because it may have to compile.
    pub command: Vec<String>,
    /// The working directory; the project by default.
    pub cwd: Option<String>,
    /// Environment variables in addition to those in the declaration's `env`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The files whose change starts the sidecar again, as patterns relative to `cwd`, such as `"src/**/*.ts"`, a folder such as `"src"`,
    /// or a package beside it (`"../shared/src"`). `"!src/gen/**"` leaves files out. `**` does not enter hidden folders,
    /// `node_modules`, `__pycache__`, virtual environments of Python, and folders with a `CACHEDIR.TAG`, such as Cargo's `target`. Leave
    /// the field out if the command itself watches its files.
    #[serde(default)]
    pub watch: Vec<String>,
    /// After a change: `"swap"` (the default) starts the new process beside the old one, and stops the old one once the new one
    /// is ready; a version that fails leaves the old one running. `"restart"` stops the old process first: for a debugger with a
    /// fixed port, or a file that only one process can open. A sidecar with a fixed `port` is always restarted.
    #[serde(default)]
    pub on_change: OnChange,
}

impl DevConfig {
    /// The files that `watch` means for the sidecar called `sidecar`; `None` without a pattern.
    ///
    /// # Errors
    /// A pattern is invalid.
    pub fn watch_patterns(&self, sidecar: &str) -> Result<Option<WatchPatterns>, ConfigError> {
        let invalid = |(pattern, reason)| ConfigError::Watch { sidecar: sidecar.to_owned(), pattern, reason };
        let patterns = WatchPatterns::new(&self.watch).map_err(invalid)?;
        Ok((!self.watch.is_empty()).then_some(patterns))
    }
}

/// What a change of a watched file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum OnChange {
    /// The new process starts beside the old one.
    #[default]
    Swap,
    /// The old process stops first.
    Restart,
}
