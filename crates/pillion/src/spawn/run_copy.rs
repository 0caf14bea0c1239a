//! Runs a copy of a program, so that a build can replace the file of a running one: Windows locks that file.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

/// What the name of a copy has between the stem and the suffix of the program, before a number.
const MARK: &str = ".pillion-copy-";

/// A copy whose program is to be started. Meanwhile no other sidecar of this process removes copies: the system protects only those
/// that run.
#[derive(Debug)]
pub(crate) struct RunCopy {
    path: PathBuf,
    _starting: MutexGuard<'static, ()>,
}

impl RunCopy {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Held while a copy exists that does not run yet.
static STARTING: Mutex<()> = Mutex::new(());

/// Copies the program to a file beside it, because programs find their libraries and data there. Removes earlier copies; those
/// that run stay, because Windows does not remove them. Waits while another sidecar starts from its copy.
pub(crate) fn copy(program: &Path) -> io::Result<RunCopy> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let program = &std::path::absolute(program)?;
    for old in copies(program) {
        // A copy that runs cannot be removed; the next start tries again.
        let _ = fs::remove_file(old);
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let (start, end) = name(program);
    let copy = program.with_file_name(
        [start, format!("{}-{number}", process::id()).into(), end].into_iter().collect::<OsString>(),
    );
    fs::copy(program, &copy)?;
    Ok(RunCopy { path: copy, _starting: starting })
}

/// What the name of a copy of this program begins and ends with.
fn name(program: &Path) -> (OsString, OsString) {
    let mut start = program.file_stem().unwrap_or_default().to_owned();
    start.push(MARK);
    let suffix = program.extension().map(|suffix| [".".as_ref(), suffix].into_iter().collect());
    (start, suffix.unwrap_or_default())
}

/// The copies of this program that exist.
fn copies(program: &Path) -> Vec<PathBuf> {
    let (start, end) = name(program);
    let (start, end) = (start.to_string_lossy(), end.to_string_lossy());
    let is_copy = |path: &PathBuf| {
        path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with(&*start) && name.ends_with(&*end)
        })
    };
    let files = program.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    files.map(|file| file.path()).filter(is_copy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_does_not_run_yet_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("api");
        fs::write(&program, "").unwrap();
        let first = copy(&program).unwrap();
        assert!(STARTING.try_lock().is_err(), "the next start waits");
        let path = first.path().to_owned();
        drop(first);
        let next = std::thread::scope(|threads| threads.spawn(|| drop(copy(&program).unwrap())).join());
        next.unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_copy_lies_beside_the_program_and_earlier_ones_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["api.exe", "api"] {
            let program = folder.path().join(name);
            fs::write(&program, "1").unwrap();
            let copied = || copy(&program).unwrap().path().to_owned();
            let first = copied();
            assert_eq!(first.parent(), Some(folder.path()));
            assert_eq!(first.extension() == Some("exe".as_ref()), name == "api.exe", "Windows executes it");
            fs::write(&program, "2").unwrap();
            let second = copied();
            assert_ne!(first, second);
            assert_eq!(fs::read(&second).unwrap(), b"2");
            assert!(!first.exists() && program.exists());
            fs::remove_file(second).unwrap();
            fs::remove_file(program).unwrap();
        }
    }

    #[test]
    fn files_of_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("api.exe");
        let others = ["api2.pillion-copy-1-1.exe", "api.pillion-copy-1-1.dll", "api.exe.old"];
        for name in others {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::write(&program, "").unwrap();
        drop(copy(&program).unwrap());
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
        assert!(copy(&folder.path().join("missing.exe")).is_err());
    }
}
