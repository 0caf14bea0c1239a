//! The machines of GitHub that build for each target.

use crate::project::TargetTriple;

/// A target, and the label of the machine that bundles for it
/// (<https://docs.github.com/actions/reference/runners/github-hosted-runners>).
#[derive(Debug, Clone)]
pub(super) struct Runner {
    pub(super) target: TargetTriple,
    pub(super) label: &'static str,
}

/// The oldest Linux that Tauri's packages need decides on which systems they run: its glibc.
const LABELS: [(&str, &str); 7] = [
    ("x86_64-unknown-linux-gnu", "ubuntu-22.04"),
    ("aarch64-unknown-linux-gnu", "ubuntu-22.04-arm"),
    ("aarch64-apple-darwin", "macos-latest"),
    ("x86_64-apple-darwin", "macos-15-intel"),
    ("universal-apple-darwin", "macos-latest"),
    ("x86_64-pc-windows-msvc", "windows-latest"),
    ("aarch64-pc-windows-msvc", "windows-11-arm"),
];

/// The targets without `--target`.
const DEFAULT: [&str; 3] = ["x86_64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"];

/// The runner for a target.
///
/// # Errors
///
/// No machine of GitHub bundles for this target.
pub(super) fn runner(target: &str) -> Result<Runner, String> {
    let known = LABELS.iter().find(|(triple, _)| *triple == target);
    let (triple, label) = known.ok_or_else(|| {
        let triples: Vec<_> = LABELS.iter().map(|(triple, _)| *triple).collect();
        format!("GitHub has no machine that bundles for it; choose among {}", triples.join(", "))
    })?;
    Ok(Runner { target: triple.parse()?, label })
}

pub(super) fn default() -> Vec<Runner> {
    DEFAULT.iter().filter_map(|target| runner(target).ok()).collect()
}
