//! Names of sidecar programs and their files.

use crate::project::TargetTriple;

/// The triples that Tauri bundles for, and the universal one.
const TRIPLES: [&str; 20] = [
    "aarch64-apple-darwin",
    "aarch64-pc-windows-gnullvm",
    "aarch64-pc-windows-msvc",
    "aarch64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
    "arm-unknown-linux-gnueabihf",
    "armv7-unknown-linux-gnueabihf",
    "armv7-unknown-linux-musleabihf",
    "i686-pc-windows-gnu",
    "i686-pc-windows-msvc",
    "i686-unknown-linux-gnu",
    "i686-unknown-linux-musl",
    "riscv64gc-unknown-linux-gnu",
    "universal-apple-darwin",
    "x86_64-apple-darwin",
    "x86_64-pc-windows-gnu",
    "x86_64-pc-windows-gnullvm",
    "x86_64-pc-windows-msvc",
    "x86_64-unknown-linux-gnu",
    "x86_64-unknown-linux-musl",
];

/// Names that say nothing about the app: roles, languages and products. Debian or Fedora have packages with files of most of these
/// names in /usr/bin, or could have.
const GENERIC: [&str; 54] = [
    "agent",
    "api",
    "app",
    "app-server",
    "backend",
    "bun",
    "cli",
    "client",
    "core",
    "daemon",
    "database",
    "db",
    "deno",
    "engine",
    "flask",
    "go",
    "gunicorn",
    "helper",
    "host",
    "http-server",
    "java",
    "launcher",
    "llama-server",
    "main",
    "manager",
    "mongod",
    "mysqld",
    "next",
    "node",
    "ollama",
    "php",
    "postgres",
    "process",
    "program",
    "proxy",
    "python",
    "python3",
    "redis-server",
    "ruby",
    "run",
    "runner",
    "runtime",
    "serve",
    "server",
    "service",
    "services",
    "sidecar",
    "sqlite3",
    "start",
    "test",
    "uvicorn",
    "web",
    "worker",
    "workers",
];

/// Whether this is a triple that Tauri bundles for.
pub(super) fn is_triple(name: &str) -> bool {
    TRIPLES.contains(&name)
}

/// The suffix of a file that an entry of `bundle.externalBin` must not have: a triple or `.exe`.
pub(super) fn suffix(name: &str) -> Option<&str> {
    let is_suffix = |triple: &&&str| name.strip_suffix(**triple).is_some_and(|rest| rest.ends_with('-'));
    TRIPLES
        .iter()
        .find(is_suffix)
        .map(|triple| &name[name.len() - triple.len() - 1..])
        .or_else(|| name.ends_with(".exe").then_some(".exe"))
}

/// Whether other packages may have a program of this name.
pub(super) fn is_generic(name: &str) -> bool {
    GENERIC.contains(&name.to_ascii_lowercase().as_str())
}

/// What the name of a file says, which begins with the name of a sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileName {
    /// The program for a target.
    For(TargetTriple),
    /// A name that Tauri does not look for, and why.
    Wrong(String),
}

/// Reads the name of a file beside the programs of the sidecar `name`. `None` if the file has nothing to do with it.
pub(super) fn read(file: &str, name: &str) -> Option<FileName> {
    let rest = file.strip_prefix(name)?;
    if rest.is_empty() || rest == ".exe" {
        return Some(FileName::Wrong("it has no target triple".to_owned()));
    }
    let rest = rest.strip_prefix('-')?;
    let (stem, is_exe) = rest.strip_suffix(".exe").map_or((rest, false), |stem| (stem, true));
    // Checksums and the like lie beside the programs.
    if stem.contains('.') {
        return None;
    }
    let triple = is_triple(stem).then(|| stem.parse::<TargetTriple>().ok()).flatten();
    let Some(triple) = triple else {
        // `backend-admin-TRIPLE` belongs to another program, and `backend-x86_64-linux` does not.
        if suffix(stem).is_some() {
            return None;
        }
        let looks_like_one = [
            "x86_64",
            "x64",
            "amd64",
            "aarch64",
            "arm64",
            "i686",
            "universal",
            "linux",
            "darwin",
            "macos",
            "windows",
            "win32",
        ];
        let wrong = stem.split('-').any(|part| looks_like_one.contains(&part));
        return wrong
            .then(|| FileName::Wrong(format!("{stem:?} is not a target triple that Tauri bundles for")));
    };
    Some(match (triple.executable_suffix(), is_exe) {
        (".exe", false) => FileName::Wrong("a program for Windows ends with .exe".to_owned()),
        ("", true) => FileName::Wrong("only a program for Windows ends with .exe".to_owned()),
        _ => FileName::For(triple),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted() {
        assert!(TRIPLES.is_sorted() && GENERIC.is_sorted());
    }

    #[test]
    fn a_suffix_of_a_file_is_not_part_of_a_name() {
        assert_eq!(suffix("api-x86_64-unknown-linux-gnu"), Some("-x86_64-unknown-linux-gnu"));
        assert_eq!(suffix("api.exe"), Some(".exe"));
        assert_eq!(suffix("api-v2"), None);
    }

    #[test]
    fn the_name_of_a_file_says_its_target() {
        let target = |file: &str| match read(file, "api") {
            Some(FileName::For(triple)) => Ok(Some(triple.to_string())),
            Some(FileName::Wrong(why)) => Err(why),
            None => Ok(None),
        };
        for (file, found) in [
            ("api-x86_64-unknown-linux-gnu", Some("x86_64-unknown-linux-gnu")),
            ("api-x86_64-pc-windows-msvc.exe", Some("x86_64-pc-windows-msvc")),
            ("api-universal-apple-darwin", Some("universal-apple-darwin")),
            ("api-admin-x86_64-unknown-linux-gnu.sha256", None),
            ("api-admin-x86_64-unknown-linux-gnu", None),
            ("api-notes", None),
            ("other", None),
            ("api2", None),
        ] {
            assert_eq!(target(file), Ok(found.map(str::to_owned)), "{file}");
        }
        for (file, why) in [
            ("api", "no target triple"),
            ("api.exe", "no target triple"),
            ("api-x86_64-pc-windows-msvc", "ends with .exe"),
            ("api-x86_64-apple-darwin.exe", "only a program for Windows"),
            ("api-x86_64-linux", "not a target triple"),
            ("api-win32-x64.exe", "not a target triple"),
        ] {
            assert!(target(file).is_err_and(|found| found.contains(why)), "{file}");
        }
    }
}
