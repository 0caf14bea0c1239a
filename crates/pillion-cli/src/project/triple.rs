//! Target triples, which are part of the names of sidecar programs.

use std::{fmt, process::Command, str::FromStr};

use super::Platform;

/// A target triple of Rust, such as `x86_64-unknown-linux-gnu`, or Tauri's `universal-apple-darwin`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TargetTriple(String);

/// The target of macOS programs for both processors: <https://v2.tauri.app/distribute/app-store/#macos>.
const UNIVERSAL: &str = "universal-apple-darwin";

impl TargetTriple {
    /// The triple that rustc builds for by default, which Tauri uses without `--target`.
    ///
    /// # Errors
    ///
    /// Fails if rustc cannot be run.
    pub(crate) fn host() -> Result<Self, String> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(&rustc).arg("-vV").output().map_err(|error| {
            format!("cannot run `{} -vV`: {error}; install Rust from https://rustup.rs", rustc.display())
        })?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let host = printed.lines().find_map(|line| line.strip_prefix("host: "));
        host.ok_or_else(|| format!("`{} -vV` names no host: it printed {printed:?}", rustc.display()))?
            .trim()
            .parse()
    }

    /// The processor, such as `x86_64`.
    pub(crate) fn arch(&self) -> &str {
        self.0.split('-').next().unwrap_or_default()
    }

    /// The system, if sidecars run there.
    pub(crate) fn platform(&self) -> Option<Platform> {
        let has = |part: &str| self.0.split('-').any(|found| found == part);
        if has("windows") {
            Some(Platform::Windows)
        } else if has("darwin") {
            Some(Platform::MacOs)
        } else if has("linux") && !self.0.contains("android") {
            Some(Platform::Linux)
        } else {
            None
        }
    }

    /// `.exe` on Windows, otherwise nothing.
    pub(crate) fn executable_suffix(&self) -> &'static str {
        if self.platform() == Some(Platform::Windows) { ".exe" } else { "" }
    }

    /// Whether this is `universal-apple-darwin`, for which no compiler builds: lipo joins two programs.
    pub(crate) fn is_universal(&self) -> bool {
        self.0 == UNIVERSAL
    }

    /// The targets whose files Tauri needs for a bundle of this target: all three for a universal one, otherwise itself.
    pub(crate) fn needed(&self) -> Vec<Self> {
        if self.is_universal() {
            ["aarch64-apple-darwin", "x86_64-apple-darwin", UNIVERSAL]
                .map(|name| Self(name.to_owned()))
                .into()
        } else {
            vec![self.clone()]
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetTriple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TargetTriple {
    type Err = String;

    /// Checks the form alone: rustc knows which triples exist (`rustc --print target-list`).
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split('-').collect();
        let valid = |part: &&str| {
            !part.is_empty()
                && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.".contains(letter))
        };
        if (2..=5).contains(&parts.len()) && parts.iter().all(valid) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "{text:?} is not a target triple: write one such as x86_64-unknown-linux-gnu, aarch64-apple-darwin, \
             x86_64-pc-windows-msvc or {UNIVERSAL}"
        ))
    }
}
