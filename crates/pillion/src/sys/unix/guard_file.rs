//! The guard's program as a file, for a system that cannot execute memory: one file for all guards of this process, because the system
//! examines each new program before it runs it for the first time.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::fs::{FlockOperation, OFlags, flock};

/// What the names of the directories begin with.
const PREFIX: &str = ".pillion-guard-";
/// The file that its process holds locked, in each directory. The lock ends with the process, by whatever death (flock(2)).
const OWNER: &str = "owner";
/// How long a directory may have no owner: to fill it takes far less, and its process may have died meanwhile.
const FILLED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The guard's program in a directory of this process. Nothing removes the directory while the process lives, except a person or a tool; the
/// next process that stores a guard removes the directories of dead ones.
#[derive(Debug)]
pub(in crate::sys) struct GuardFile {
    path: PathBuf,
    _lock: File,
}

impl GuardFile {
    /// The file of this process in a directory within `base`. Stores it at the first call, and again if it was removed.
    pub(in crate::sys) fn of_this_process(base: &Path, bytes: &[u8]) -> io::Result<Arc<Self>> {
        static FILES: Mutex<BTreeMap<PathBuf, Arc<GuardFile>>> = Mutex::new(BTreeMap::new());
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(base)
            && fs::metadata(&file.path).is_ok_and(|found| found.len() == bytes.len() as u64)
        {
            return Ok(Arc::clone(file));
        }
        let stored = Arc::new(Self::store(base, bytes)?);
        files.insert(base.to_owned(), Arc::clone(&stored));
        Ok(stored)
    }

    /// Stores the program in a new directory, and removes those of dead processes.
    fn store(base: &Path, bytes: &[u8]) -> io::Result<Self> {
        remove_unowned(base);
        Self::store_in(&new_directory(base)?, bytes)
    }

    /// Nothing is left of a directory that cannot be filled.
    fn store_in(directory: &Path, bytes: &[u8]) -> io::Result<Self> {
        Self::fill(directory, bytes).inspect_err(|_| {
            let _ = fs::remove_dir_all(directory);
        })
    }

    fn fill(directory: &Path, bytes: &[u8]) -> io::Result<Self> {
        let file = |name, mode| {
            let path = directory.join(name);
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).map(|file| (file, path))
        };
        // Locked before it has its name: another process never finds it without its lock.
        let (lock, unnamed) = file("new", 0o600)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        fs::rename(unnamed, directory.join(OWNER))?;
        let (mut program, path) = file("pillion-guard", 0o700)?;
        program.write_all(bytes)?;
        Ok(Self { path, _lock: lock })
    }

    pub(in crate::sys) fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates a directory that only this user can enter, whatever the umask permits.
fn new_directory(base: &Path) -> io::Result<PathBuf> {
    const ATTEMPTS: u32 = 16;
    for _ in 0..ATTEMPTS {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = base.join(format!("{PREFIX}{:016x}", u64::from_ne_bytes(random)));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(|()| path),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Removes the directories of this user whose process has died.
fn remove_unowned(base: &Path) {
    let user = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir() && found.uid() == user);
        if is_ours && (is_unowned(&path.join(OWNER)) || is_abandoned(&path)) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// Whether no process holds the lock. A directory without the file is just being filled.
fn is_unowned(owner: &Path) -> bool {
    // Never waits, whatever lies there.
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(owner);
    file.is_ok_and(|file| flock(file, FlockOperation::NonBlockingLockExclusive).is_ok())
}

/// Whether the directory was created long ago and never filled.
fn is_abandoned(directory: &Path) -> bool {
    let age = fs::symlink_metadata(directory).and_then(|found| found.modified()).ok();
    let is_old = age.and_then(|age| age.elapsed().ok()).is_some_and(|age| age > FILLED_AFTER);
    is_old
        && fs::symlink_metadata(directory.join(OWNER))
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn directories(base: &Path) -> usize {
        fs::read_dir(base).unwrap().count()
    }

    #[test]
    fn one_file_serves_all_guards_of_a_process_until_it_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let first = GuardFile::of_this_process(base.path(), b"#!/bin/true\n").unwrap();
        let second = GuardFile::of_this_process(base.path(), b"#!/bin/true\n").unwrap();
        assert_eq!((first.path(), directories(base.path())), (second.path(), 1));
        assert_eq!((mode(first.path()), mode(first.path().parent().unwrap())), (0o700, 0o700));
        assert_eq!(fs::read(first.path()).unwrap(), b"#!/bin/true\n");
        fs::remove_dir_all(first.path().parent().unwrap()).unwrap();
        let third = GuardFile::of_this_process(base.path(), b"#!/bin/true\n").unwrap();
        assert!(third.path().exists());
        assert_ne!(third.path(), first.path());
    }

    #[test]
    fn the_directories_of_dead_processes_are_removed_and_no_others() {
        let base = tempfile::tempdir().unwrap();
        let living = GuardFile::store(base.path(), b"1").unwrap();
        // As at a death: the lock ends, and the directory stays.
        let dead = GuardFile::store(base.path(), b"2").unwrap().path;
        for other in ["other", ".pillion-guard-unfinished"] {
            fs::create_dir(base.path().join(other)).unwrap();
        }
        let abandoned = base.path().join(".pillion-guard-abandoned");
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join("new"), "").unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        File::open(&abandoned).unwrap().set_modified(long_ago).unwrap();
        let link = base.path().join(".pillion-guard-link");
        std::os::unix::fs::symlink(base.path().join("other"), &link).unwrap();
        fs::write(base.path().join("other").join(OWNER), "").unwrap();
        let new = GuardFile::store(base.path(), b"3").unwrap();
        assert!(living.path().exists() && new.path().exists());
        assert!(!dead.parent().unwrap().exists() && !abandoned.exists());
        assert_eq!(directories(base.path()), 5);
    }

    #[test]
    fn nothing_is_left_of_a_file_that_cannot_be_stored() {
        let base = tempfile::tempdir().unwrap();
        let directory = new_directory(base.path()).unwrap();
        // Its program cannot be created.
        fs::create_dir(directory.join("pillion-guard")).unwrap();
        assert!(GuardFile::store_in(&directory, b"1").is_err());
        assert_eq!(directories(base.path()), 0);
    }
}
