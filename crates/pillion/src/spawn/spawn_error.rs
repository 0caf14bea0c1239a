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
    if let Some(what) = dir.and_then(no_working_directory) {
        return format!("its working directory {what}");
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
    if !metadata.is_file() {
        return format!("{shown} is a pipe, a socket or a device, not a program");
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
        may_execute: may_execute(&path),
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
                "no program {name}.exe, but a batch file {}, which Windows starts only by its full name: declare {name}{}",
                batch.display(),
                batch.extension().map(|suffix| format!(".{}", suffix.display())).unwrap_or_default(),
            );
        }
    }
    if program.as_os_str().is_empty() {
        return "the name of the program is empty: give its path, or its name in PATH".to_owned();
    }
    if is_bare(program) {
        let path = env::var_os("PATH").unwrap_or_default();
        let broken = env::split_paths(&path).find_map(|folder| unreachable(&folder.join(program)));
        broken.unwrap_or_else(|| format!("no program {name} in PATH; give its path, or install it"))
    } else {
        unreachable(&executable::file(program, dir)).unwrap_or_else(|| {
            let from =
                program.is_relative().then(|| dir.map(Path::to_owned).or_else(|| env::current_dir().ok()));
            let from = from.flatten().map(|dir| format!(" in {}", dir.display())).unwrap_or_default();
            format!("no such file: {name}{from}")
        })
    }
}

/// Why a program cannot start in this directory, if that is known.
fn no_working_directory(dir: &Path) -> Option<String> {
    let shown = dir.display();
    match fs::metadata(dir) {
        Ok(found) if !found.is_dir() => Some(format!("{shown} is not a directory")),
        Ok(_) if !may_execute(dir) => Some(format!("{shown} may not be entered by this user")),
        Ok(_) => None,
        Err(_) => Some(unreachable(dir).unwrap_or_else(|| format!("{shown} does not exist"))),
    }
}

/// Why nothing is found at this path, although something is there, or may be.
fn unreachable(path: &Path) -> Option<String> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() && fs::metadata(path).is_err() => {
            let target = fs::read_link(path).unwrap_or_default();
            Some(format!("{shown} is a symbolic link to {}, which cannot be opened", target.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let closed = path.ancestors().skip(1).find(|folder| folder.is_dir())?;
            Some(format!("{shown} cannot be reached: this user may not enter {}", closed.display()))
        }
        _ => None,
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

/// Whether this user may execute this file, or enter this directory.
#[cfg(unix)]
fn may_execute(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Windows asks its access control list alone, and names no cause.
#[cfg(windows)]
fn may_execute(_path: &Path) -> bool {
    true
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
        let relative = Path::new("./backend");
        let here = env::current_dir().unwrap();
        assert_eq!(
            explain(relative, None, &missing),
            format!("no such file: ./backend in {}", here.display())
        );
        let folder = env::temp_dir();
        let there = explain(relative, Some(&folder), &missing);
        assert_eq!(there, format!("no such file: ./backend in {}", folder.display()));
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
    fn what_is_at_the_path_of_a_missing_program_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backend");
        let said = |code: rustix::io::Errno| explain(&path, None, &io::Error::from(code));
        std::os::unix::fs::symlink("/no/such/build", &path).unwrap();
        let broken =
            format!("{} is a symbolic link to /no/such/build, which cannot be opened", path.display());
        assert_eq!(said(rustix::io::Errno::NOENT), broken);
        assert_eq!(
            explain(Path::new("sh"), Some(&path), &io::ErrorKind::NotFound.into()),
            format!("its working directory {broken}")
        );
        fs::remove_file(&path).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(said(rustix::io::Errno::ACCESS).ends_with("is a pipe, a socket or a device, not a program"));
        let empty = explain(Path::new(""), None, &io::ErrorKind::NotFound.into());
        assert!(empty.starts_with("the name of the program is empty"), "{empty}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_directory_that_this_user_may_not_enter_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let closed = dir.path().join("closed");
        fs::create_dir(&closed).unwrap();
        for (path, mode) in [(dir.path(), 0o755), (closed.as_path(), 0o600)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let (path, denied) = (closed.join("backend"), || io::Error::from(io::ErrorKind::PermissionDenied));
        let (program, entered) = as_no_root(|| {
            (explain(&path, None, &denied()), explain(Path::new("sh"), Some(&closed), &denied()))
        });
        assert_eq!(
            program,
            format!("{} cannot be reached: this user may not enter {}", path.display(), closed.display())
        );
        assert_eq!(
            entered,
            format!("its working directory {} may not be entered by this user", closed.display())
        );
    }

    /// Root may enter each directory. Linux lets one thread be another user (setuid(2), "C library/kernel differences").
    #[cfg(target_os = "linux")]
    fn as_no_root<T: Send>(test: impl FnOnce() -> T + Send) -> T {
        use rustix::{
            process::{Uid, geteuid},
            thread::set_thread_uid,
        };

        std::thread::scope(|scope| {
            let tested = scope.spawn(|| {
                if geteuid().is_root() {
                    set_thread_uid(Uid::from_raw(64_999)).unwrap();
                }
                test()
            });
            tested.join().unwrap()
        })
    }

    #[test]
    fn an_interpreter_that_may_not_be_executed_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let interpreter = dir.path().join("interpreter");
        fs::write(&interpreter, "").unwrap();
        let shown = interpreter.display();
        assert_eq!(
            explain_file(format!("#!{shown} -e\n").as_bytes(), 0o755),
            format!(
                "FILE may be executed, but not its interpreter {shown}, named in its first line: make it executable, or name another one"
            )
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
