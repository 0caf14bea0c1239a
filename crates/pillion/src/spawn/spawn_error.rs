//! Explains why a program could not be started, from what is at its path and what this machine can run.

mod cause;
mod format;

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use self::{
    cause::{FailedStart, diagnose, no_descriptor},
    format::{Format, System},
};
use crate::spawn::executable::{self, is_bare};

/// Explains a failed spawn of `program` in the directory `dir`.
pub(crate) fn explain(program: &Path, dir: Option<&Path>, error: &io::Error) -> String {
    if no_descriptor(System::THIS, error.raw_os_error()) {
        return format!("this program or the system has no file descriptor left: {error}");
    }
    if let Some(dir) = dir
        && !dir.is_dir()
    {
        let what = if dir.exists() { "is not a directory" } else { "does not exist" };
        return format!("its working directory {} {what}", dir.display());
    }
    let Some(path) = locate(program, dir) else {
        return not_found(program, dir);
    };
    let shown = path.display().to_string();
    let Ok(metadata) = fs::metadata(&path) else {
        return format!("{shown} cannot be examined: {error}");
    };
    if metadata.is_dir() {
        return format!("{shown} is a directory");
    }
    if metadata.len() == 0 {
        return format!("{shown} is empty: its build did not finish");
    }
    let batch_file = batch_file(&path, Path::is_file).map(|batch| batch.display().to_string());
    diagnose(&FailedStart {
        machine: Format::THIS,
        shown: &shown,
        code: error.raw_os_error(),
        invalid_input: error.raw_os_error().is_none() && error.kind() == io::ErrorKind::InvalidInput,
        message: &error.to_string(),
        head: &head(&path).unwrap_or_default(),
        mode: mode(&metadata),
        noexec: is_noexec(&path),
        batch_file: batch_file.as_deref(),
    })
}

fn not_found(program: &Path, dir: Option<&Path>) -> String {
    let name = program.display();
    if cfg!(windows) {
        // npm installs `tool.cmd` beside a script `tool` for other systems, and means either by `tool`; a system call does not.
        let found = if is_bare(program) {
            let path = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&path).find_map(|folder| batch_file(&folder.join(program), Path::is_file))
        } else {
            batch_file(&executable::file(program, dir), Path::is_file)
        };
        if let Some(batch) = found {
            return format!(
                "no program {name}.exe, but a batch file {}, which Windows starts only by its whole name: declare {name}{}",
                batch.display(),
                batch.extension().map(|suffix| format!(".{}", suffix.display())).unwrap_or_default(),
            );
        }
    }
    if is_bare(program) {
        format!("no program {name} in PATH; give its path, or install it")
    } else {
        format!("no such file: {name}")
    }
}

/// The batch file with the name of this program and a suffix, if the program has none.
fn batch_file(program: &Path, is_file: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let with = |suffix| {
        let mut path = OsString::from(program);
        path.push(suffix);
        PathBuf::from(path)
    };
    let has_none = program.extension().is_none();
    has_none.then(|| [".cmd", ".bat"].map(with).into_iter().find(|batch| is_file(batch)))?
}

#[cfg(unix)]
fn mode(metadata: &fs::Metadata) -> Option<u32> {
    Some(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777)
}

/// Windows has no right to execute among the properties of a file.
#[cfg(windows)]
fn mode(_metadata: &fs::Metadata) -> Option<u32> {
    None
}

/// Whether the file system of this file is mounted without the right to execute programs (mount(8)).
#[cfg(not(target_os = "linux"))]
fn is_noexec(_path: &Path) -> bool {
    // rustix has no such flag for the other systems.
    false
}

/// Whether the file system of this file is mounted without the right to execute programs (mount(8)).
#[cfg(target_os = "linux")]
fn is_noexec(path: &Path) -> bool {
    use rustix::fs::{StatVfsMountFlags, statvfs};
    statvfs(path).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

/// The file that the system would execute.
fn locate(program: &Path, dir: Option<&Path>) -> Option<PathBuf> {
    if is_bare(program) {
        let path = env::var_os("PATH")?;
        let mut program = program.to_owned();
        if cfg!(windows) && program.extension().is_none() {
            // As std does. A file without a suffix is for other systems.
            program.set_extension("exe");
        }
        return env::split_paths(&path).map(|folder| folder.join(&program)).find(|file| file.is_file());
    }
    let path = executable::file(program, dir);
    path.exists().then_some(path)
}

fn head(path: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    fs::File::open(path).ok()?.take(4096).read_to_end(&mut head).ok()?;
    Some(head)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::{os::unix::fs::PermissionsExt, process::Command};

    /// Writes a program, tries to start it, and explains the error.
    fn explain_file(content: &[u8], mode: u32) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backend");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        #[expect(clippy::disallowed_methods, reason = "it is meant to fail")]
        let error = Command::new(&path).spawn().unwrap_err();
        explain(&path, None, &error).replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn a_missing_program_is_named() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(explain(Path::new("/no/such/backend"), None, &missing), "no such file: /no/such/backend");
        let bare = explain(Path::new("no-such-program-x"), None, &missing);
        assert_eq!(bare, "no program no-such-program-x in PATH; give its path, or install it");
        let dir = explain(Path::new("sh"), Some(Path::new("/no/such/dir")), &missing);
        assert_eq!(dir, "its working directory /no/such/dir does not exist");
    }

    #[test]
    fn a_file_that_cannot_run_is_described() {
        assert_eq!(explain_file(b"", 0o755), "FILE is empty: its build did not finish");
        assert_eq!(
            explain_file(b"#!/bin/sh\n", 0o644),
            "FILE is not executable (mode 0644); run: chmod +x FILE"
        );
        assert_eq!(
            explain_file(b"#!/no/such/sh -e\n", 0o755),
            "FILE exists, but its interpreter /no/such/sh, named in its first line, does not"
        );
        let carriage_return = explain_file(b"#!/bin/sh\r\necho\r\n", 0o755);
        assert!(carriage_return.contains(r"interpreter /bin/sh\r"), "{carriage_return}");
        assert_eq!(
            explain_file(b"hello\n", 0o755),
            "FILE is neither a program for this machine nor a script that starts with #!"
        );
    }

    #[test]
    fn a_program_for_another_machine_is_named() {
        let elf = format::tests::elf(if cfg!(target_arch = "aarch64") { 62 } else { 183 }, "");
        let said = explain_file(&elf, 0o755);
        assert!(said.starts_with("FILE is built for Linux "), "{said}");
        assert!(said.ends_with(&format!("and this machine runs {}", Format::THIS)), "{said}");
    }

    #[test]
    fn a_batch_file_beside_a_program_without_a_suffix_is_found() {
        let beside = |program: &str, exists: &'static str| {
            batch_file(Path::new(program), |file| file == Path::new(exists))
        };
        assert_eq!(beside("bin/npm", "bin/npm.cmd"), Some("bin/npm.cmd".into()));
        assert_eq!(beside("npm", "npm.bat"), Some("npm.bat".into()));
        assert_eq!(beside("npm.exe", "npm.cmd"), None);
        assert_eq!(beside("npm.exe", "npm.exe.cmd"), None);
        assert_eq!(beside("npm", "npm.exe"), None);
    }
}
