//! The log files of one sidecar: `FOLDER/SIDECAR/TIME-PROGRAM.log`. Each program writes to files of its own. So that no other program
//! removes them, it holds their locks (flock(2)), or, on Windows, has opened them for itself: a lock would keep people from reading them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use pillion_guard::log_lines::file_name;

use crate::{
    report::{
        folder_name::folder_name,
        report_folder::{create_private, is_program, private, this_program},
    },
    spec::LogFiles,
    wall_clock::now_ms,
};

/// How many names are tried for a new file, one a millisecond.
const NAMES: u64 = 100;

/// The folder with the log files of one sidecar.
#[derive(Debug)]
pub(super) struct LogFolder {
    path: PathBuf,
    max_bytes: u64,
    max_files: usize,
    /// The time in the name of the last file that was begun, so that later ones sort after it also if the clock is set back.
    last: u64,
}

/// The file that is written.
#[derive(Debug)]
pub(super) struct OpenFile {
    path: PathBuf,
    file: File,
    /// The length of its whole lines.
    length: u64,
}

/// Lines could not be appended.
#[derive(Debug)]
pub(super) struct AppendError {
    pub(super) why: io::Error,
    /// Whether the file has whole lines alone, so that more can be appended.
    pub(super) usable: bool,
}

impl LogFolder {
    pub(super) fn new(files: &LogFiles, sidecar: &str) -> Self {
        Self {
            path: files.folder.join(folder_name(sidecar)),
            max_bytes: files.max_bytes,
            max_files: usize::try_from(files.max_files).unwrap_or(usize::MAX),
            last: 0,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a file.
    pub(super) fn begin(&mut self) -> io::Result<OpenFile> {
        create_private(&self.path)?;
        if !fs::symlink_metadata(&self.path)?.is_dir() {
            // It would lead out of the folder.
            return Err(io::Error::other("it is a symbolic link"));
        }
        let now = now_ms().max(self.last + 1);
        let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
        for at in now..now + NAMES {
            let path = self.path.join(file_name(at, this_program()));
            // A new file: no link that leads elsewhere.
            match for_writing().create_new(true).open(&path) {
                Ok(file) => {
                    // Without a lock, another program may remove the file, which is then noticed.
                    #[cfg(not(windows))]
                    let _ = file.try_lock();
                    self.last = at;
                    return Ok(OpenFile { path, file, length: 0 });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
                Err(error) => return Err(error),
            }
        }
        Err(taken)
    }

    /// Whether the next file has to begin before so many bytes are written to this one.
    pub(super) fn is_full(&self, file: &OpenFile, bytes: usize) -> bool {
        file.length > 0 && file.length + bytes as u64 > self.max_bytes
    }

    /// Removes the oldest files, except those that a program writes. One that cannot be removed is tried again with the next file. To be
    /// called once something is written to the present file: a disk that refuses to write must not cost the earlier files.
    pub(super) fn prune(&self, present: &OpenFile) {
        let mut files = self.files().unwrap_or_default();
        files.truncate(files.len().saturating_sub(self.max_files));
        for path in files.into_iter().filter(|path| *path != present.path) {
            if let Err(error) = remove(&path) {
                tracing::debug!(path = %path.display(), %error, "an old log file stays");
            }
        }
    }

    /// The log files, oldest first. The folder may hold files that are not ours.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() && is_log(&entry.file_name().to_string_lossy()) {
                files.push(entry.path());
            }
        }
        files.sort_unstable();
        Ok(files)
    }
}

impl OpenFile {
    /// Appends whole lines. After an error none of them is in the file, or the file cannot be used any more.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), AppendError> {
        // Another program may have emptied it, and its lines are whole again.
        if let Ok(metadata) = self.file.metadata() {
            self.length = self.length.min(metadata.len());
        }
        match self.file.write_all(lines) {
            Ok(()) => {
                self.length += lines.len() as u64;
                Ok(())
            }
            Err(why) => {
                let restored = self.file.set_len(self.length);
                let usable = restored.and_then(|()| self.file.seek(SeekFrom::Start(self.length))).is_ok();
                Err(AppendError { why, usable })
            }
        }
    }

    /// The length of its whole lines, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Whether nothing is written yet.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Removes the file, to which nothing could be written.
    pub(super) fn discard(self) {
        let Self { path, file, .. } = self;
        // Windows removes no file that is open.
        drop(file);
        let _ = fs::remove_file(path);
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file still is where it was created: it may have been removed or renamed.
    pub(super) fn is_in_place(&self) -> bool {
        let Ok(there) = fs::symlink_metadata(&self.path) else { return false };
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            self.file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()))
        }
        #[cfg(not(unix))]
        there.is_file()
    }
}

/// With append(2) alone, so that a program that empties the file leaves no gap in it.
#[cfg(not(windows))]
fn for_writing() -> OpenOptions {
    let mut options = private();
    options.append(true);
    options
}

/// For this program alone, while all others can read it. Access that only appends could not remove a part of a line (`FILE_APPEND_DATA`
/// without `FILE_WRITE_DATA`, [WriteFile]).
///
/// [WriteFile]: https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-setendoffile
#[cfg(windows)]
fn for_writing() -> OpenOptions {
    use std::os::windows::fs::OpenOptionsExt as _;
    /// `FILE_SHARE_READ` (winnt.h).
    const SHARE_READ: u32 = 1;
    let mut options = private();
    options.write(true).share_mode(SHARE_READ);
    options
}

/// Removes a file that no program writes.
fn remove(path: &Path) -> io::Result<()> {
    // Windows itself refuses it for a file that a program has opened for itself.
    #[cfg(not(windows))]
    {
        let file = for_writing().open(path)?;
        may_remove(file.try_lock())?;
    }
    fs::remove_file(path)
}

/// Whether a file with this answer to the attempt to lock it may be removed. A file system without locks must not fill up.
#[cfg(not(windows))]
fn may_remove(lock: Result<(), fs::TryLockError>) -> io::Result<()> {
    match lock {
        Ok(()) | Err(fs::TryLockError::Error(_)) => Ok(()),
        Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Whether the name is one that [`LogFolder::begin`] gives: `2026-11-29T12-00-00-123Z-0123456789abcdef.log`.
fn is_log(name: &str) -> bool {
    let form = "0000-00-00T00-00-00-000Z-";
    let Some((time, program)) = name.strip_suffix(".log").and_then(|stem| stem.split_at_checked(form.len()))
    else {
        return false;
    };
    let fits = |(letter, form): (u8, u8)| if form == b'0' { letter.is_ascii_digit() } else { letter == form };
    time.bytes().zip(form.bytes()).all(fits) && is_program(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(max_files: u32) -> (tempfile::TempDir, LogFolder) {
        let base = tempfile::tempdir().unwrap();
        let files = LogFiles { max_files, ..LogFiles::new(base.path()) };
        let folder = LogFolder::new(&files, "backend");
        (base, folder)
    }

    #[test]
    fn the_newest_files_are_kept_and_those_of_the_user() {
        let (_base, mut folder) = folder(2);
        let mut paths = Vec::new();
        for _ in 0..4 {
            // Its lock is given up here.
            let mut file = folder.begin().unwrap();
            file.append(b"line\n").unwrap();
            folder.prune(&file);
            paths.push(file.path().to_owned());
            fs::write(folder.path().join("2026.log"), "mine").unwrap();
        }
        assert_eq!(folder.files().unwrap(), paths[2..]);
        assert!(folder.path().join("2026.log").exists());
    }

    #[test]
    fn a_file_that_is_written_is_not_removed() {
        let (_base, mut folder) = folder(1);
        // Its lock belongs to the open file, as that of another program does.
        let other = folder.begin().unwrap();
        let own = folder.begin().unwrap();
        folder.prune(&own);
        assert!(other.is_in_place() && own.is_in_place());
        drop(other);
        let last = folder.begin().unwrap();
        folder.prune(&last);
        assert_eq!(folder.files().unwrap(), [own.path(), last.path()]);
        // Also without locks, the present file stays.
        let _ = own.file.unlock();
        folder.prune(&own);
        assert_eq!(folder.files().unwrap(), [own.path(), last.path()]);
    }

    #[test]
    fn all_programs_can_read_the_file_that_is_written() {
        let (_base, mut folder) = folder(1);
        let mut file = folder.begin().unwrap();
        file.append(b"line\n").unwrap();
        assert_eq!(fs::read(file.path()).unwrap(), b"line\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_system_without_locks_does_not_fill_up() {
        use rustix::io::Errno;
        for (lock, removed) in [
            (Ok(()), true),
            (Err(fs::TryLockError::WouldBlock), false),
            (Err(fs::TryLockError::Error(Errno::NOLCK.into())), true),
            (Err(fs::TryLockError::Error(Errno::NOTSUP.into())), true),
        ] {
            assert_eq!(may_remove(lock).is_ok(), removed);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_another_program_has_emptied_has_no_gap() {
        let (_base, mut folder) = folder(1);
        let mut file = folder.begin().unwrap();
        file.append(b"first\n").unwrap();
        fs::write(file.path(), "").unwrap();
        file.append(b"second\n").unwrap();
        assert_eq!(fs::read(file.path()).unwrap(), b"second\n");
        assert_eq!(file.length, 7);
    }

    // Windows does not let another program remove or rename it.
    #[cfg(unix)]
    #[test]
    fn a_file_that_was_removed_or_renamed_is_noticed() {
        let (_base, mut folder) = folder(3);
        let file = folder.begin().unwrap();
        fs::rename(file.path(), folder.path().join("old")).unwrap();
        assert!(!file.is_in_place());
        fs::write(file.path(), "another").unwrap();
        assert!(!file.is_in_place());
        let file = folder.begin().unwrap();
        fs::remove_file(file.path()).unwrap();
        assert!(!file.is_in_place());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_can_read_the_files_and_links_are_not_followed() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let (base, mut folder) = folder(1);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let file = folder.begin().unwrap();
        assert_eq!((mode(file.path()), mode(folder.path())), (0o600, 0o700));
        // A link with the name of a log is neither written nor removed, and what it leads to stays.
        let (target, link) = (
            base.path().join("target"),
            folder.path().join(file.path().with_file_name("2000-01-01T00-00-00-000Z-0123456789abcdef.log")),
        );
        fs::write(&target, "mine").unwrap();
        symlink(&target, &link).unwrap();
        let other = folder.begin().unwrap();
        folder.prune(&other);
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "mine");
        let mut elsewhere = LogFolder::new(&LogFiles::new(base.path()), "other");
        symlink(folder.path(), elsewhere.path()).unwrap();
        assert!(elsewhere.begin().unwrap_err().to_string().contains("symbolic link"));
    }

    #[test]
    fn the_names_of_logs_are_known() {
        assert!(is_log("2026-11-29T12-00-00-123Z-0123456789abcdef.log"));
        for name in [
            "2026.log",
            "2026-11-29T12-00-00-123Z-0123456789abcde.log",
            "2026-11-29T12-00-00-123Z.log",
            "é.log",
        ] {
            assert!(!is_log(name), "{name}");
        }
    }
}
