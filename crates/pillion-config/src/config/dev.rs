//! What runs during development.

use std::collections::BTreeMap;

use serde::Deserialize;

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
    /// The files whose change starts the sidecar again, as patterns relative to `cwd`, such as `"src/**/*.ts"`. `**` does not
    /// enter hidden folders. Leave it out if the command itself watches its files.
    #[serde(default)]
    pub watch: Vec<String>,
    /// After a change: `"swap"` (the default) starts the new process beside the old one, and stops the old one once the new one
    /// is ready; a version that fails leaves the old one running. `"restart"` stops the old process first: for a debugger with a
    /// fixed port, or a file that one process alone can open. A sidecar with a fixed `port` is always restarted.
    #[serde(default)]
    pub on_change: OnChange,
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
