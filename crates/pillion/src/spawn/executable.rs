//! Which file the system executes for a program. The launch, the check of the digest and the explanation of a failed launch all ask here,
//! so that they mean the same file.

use std::path::{Path, PathBuf};

/// Whether the program is looked up in `PATH`.
pub(crate) fn is_bare(program: &Path) -> bool {
    program.components().count() == 1 && program.parent() == Some(Path::new(""))
}

/// The file of a program that is not looked up in `PATH`. A relative path begins in `dir`, the working directory of the program, on every
/// system.
pub(crate) fn file(program: &Path, dir: Option<&Path>) -> PathBuf {
    let path = dir.map_or_else(|| program.to_owned(), |dir| dir.join(program));
    if cfg!(windows) { with_suffix(path, Path::is_file) } else { path }
}

/// What to pass to [`std::process::Command`], so that it executes [`file`].
///
/// On Unix the new process resolves a relative path after it has changed its directory, as `file` does. On Windows this process resolves
/// it before, from its own directory (`CreateProcessW`), so that it gets an absolute path there.
pub(crate) fn command_path(program: &Path, dir: Option<&Path>) -> PathBuf {
    if !cfg!(windows) || is_bare(program) {
        return program.to_owned();
    }
    let file = file(program, dir);
    // An error means that the path is empty: the launch then says so.
    std::path::absolute(&file).unwrap_or(file)
}

/// On Windows, std executes `api.exe` for `api`, if that file exists.
fn with_suffix(path: PathBuf, exists: impl Fn(&Path) -> bool) -> PathBuf {
    let is_exe = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("exe"));
    if !is_exe {
        // Not `with_extension`, which would turn `api.v2` into `api.exe`.
        let mut suffixed = path.clone().into_os_string();
        suffixed.push(".exe");
        if exists(Path::new(&suffixed)) {
            return suffixed.into();
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_begins_in_the_directory_of_the_program() {
        let dir = Some(Path::new("work"));
        assert_eq!(file(Path::new("./api"), dir), Path::new("work").join("./api"));
        assert_eq!(file(Path::new("bin/api"), None), Path::new("bin/api"));
        let absolute = std::env::temp_dir().join("api");
        assert_eq!(file(&absolute, dir), absolute);
    }

    #[test]
    fn a_command_executes_the_file_whose_digest_is_checked() {
        let dir = Some(Path::new("work"));
        assert_eq!(command_path(Path::new("api"), dir), Path::new("api"), "it is looked up in PATH");
        let path = command_path(Path::new("./api"), dir);
        if cfg!(windows) {
            assert_eq!(path, std::path::absolute(file(Path::new("./api"), dir)).unwrap());
        } else {
            assert_eq!(path, Path::new("./api"), "the new process resolves it in its own directory");
        }
    }

    #[test]
    fn a_missing_suffix_is_added_where_such_a_file_exists() {
        let exists = |path: &Path| ["api.exe", "api.v2.exe"].iter().any(|name| path == Path::new(name));
        for (given, found) in [
            ("api", "api.exe"),
            ("api.exe", "api.exe"),
            ("api.EXE", "api.EXE"),
            ("api.v2", "api.v2.exe"),
            ("other", "other"),
            ("other.bat", "other.bat"),
        ] {
            assert_eq!(with_suffix(given.into(), exists), Path::new(found), "{given}");
        }
    }
}
