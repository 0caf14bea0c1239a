//! The last log file of the app, and those that follow it.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    super::log_lines::{self, journal},
    LOOK_INTERVAL, STREAMS, millis,
};

/// How much is written at once.
const AT_ONCE: usize = 64 * 1024;
/// How long a guard waits for another one that writes, and for an app that looks at the file.
const TURN_TIMEOUT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_secs(2);

/// How many lines of a stream of a run, which are given by their numbers, are in the file beyond the commit.
pub(super) type Uncommitted = HashMap<(u64, usize), u64>;

pub(super) struct LogFile {
    folder: PathBuf,
    program: String,
    max_bytes: u64,
    file: File,
    length: u64,
    /// Its lock: the guards of a sidecar write one after the other.
    _turn: File,
}

impl LogFile {
    /// Opens the last log file. Returns what it has beyond the commit, if this is the first guard to open it, which then has to write what is
    /// in the journal.
    pub(super) fn open(
        header: &[u8],
        commit: &journal::Commit,
        journal: &File,
    ) -> io::Result<(Self, Option<Uncommitted>)> {
        let folder = journal::text(header, journal::FOLDER, journal::FOLDER_SIZE).unwrap_or_default();
        let folder = PathBuf::from(OsStr::from_bytes(folder));
        let program = &header[journal::PROGRAM..journal::PROGRAM + 16];
        let program = String::from_utf8_lossy(program).into_owned();
        let max_bytes = journal::get(header, journal::MAX_BYTES).unwrap_or(u64::MAX);
        create(&folder)?;
        let turn = File::open(&folder)?;
        // A guard whose disk hangs has it for long. It lives, and writes what is in the journal itself once the disk answers.
        let has_turn = lock(&turn, TURN_TIMEOUT);
        let mut recovered = [0; 8];
        journal.read_exact_at(&mut recovered, journal::RECOVERED as u64)?;
        let is_first = has_turn && recovered == [0; 8];
        let mut names = names(&folder, &program, &commit.file)?;
        let file = match names.pop() {
            // The app has died before its first line.
            None => begin(&folder, &program)?,
            Some(newest) => {
                let file = existing(&folder.join(&newest))?;
                names.push(newest);
                file
            }
        };
        let mut length = file.metadata()?.len();
        let mut uncommitted = Uncommitted::new();
        if is_first {
            // A guard before this one may have begun files, and have failed.
            let newest = names.pop();
            for name in &names {
                let from = if *name == commit.file { commit.length } else { 0 };
                if let Ok(file) = File::open(folder.join(name)) {
                    count_lines(&file, from, &mut uncommitted)?;
                }
            }
            let from = if newest.is_some_and(|name| name == commit.file) { commit.length } else { 0 };
            let end = count_lines(&file, from.min(length), &mut uncommitted)?;
            if length > end {
                // A part of a line.
                file.set_len(end)?;
                length = end;
            }
        }
        Ok((Self { folder, program, max_bytes, file, length, _turn: turn }, is_first.then_some(uncommitted)))
    }

    pub(super) fn append_if_full(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        if text.len() < AT_ONCE { Ok(()) } else { self.append(text) }
    }

    /// Appends whole lines, to a new file if this one is full. Empties the text.
    pub(super) fn append(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let most = &rest[..rest.len().min(AT_ONCE)];
            let end = most.iter().rposition(|byte| *byte == b'\n').map_or(rest.len(), |newline| newline + 1);
            let (piece, after) = rest.split_at(end);
            if self.length > 0 && self.length + piece.len() as u64 > self.max_bytes {
                self.file = begin(&self.folder, &self.program)?;
                self.length = 0;
            }
            if let Err(error) = self.file.write_all(piece) {
                // No part of a line.
                let _ = self.file.set_len(self.length);
                return Err(error);
            }
            self.length += piece.len() as u64;
            rest = after;
        }
        text.clear();
        Ok(())
    }
}

/// Counts the lines from this place on. Returns where the last whole one ends.
fn count_lines(mut file: &File, from: u64, found: &mut Uncommitted) -> io::Result<u64> {
    file.seek(SeekFrom::Start(from))?;
    let (mut file, mut end) = (BufReader::new(file), from);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = file.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Ok(end);
        }
        end += read as u64;
        let mut words = line.split(|byte| *byte == b' ').skip(1);
        let run = words.next().and_then(|run| str::from_utf8(run).ok()?.parse().ok());
        let stream = words.next().and_then(|word| STREAMS.iter().position(|name| name.as_bytes() == word));
        if let (Some(run), Some(stream)) = (run, stream) {
            *found.entry((run, stream)).or_default() += 1;
        }
    }
}

/// The names of the file of the commit, if there is one, and of those that the app and the guards have begun after it, in their order.
fn names(folder: &Path, program: &str, committed: &str) -> io::Result<Vec<String>> {
    let end = format!("-{program}.log");
    let mut names: Vec<_> = (!committed.is_empty()).then(|| committed.to_owned()).into_iter().collect();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(&end) && *name > *committed {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Waits for the lock. `false` if another process has it for longer than this time; `true` also where a file system has no locks.
fn lock(file: &File, limit: Duration) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return true;
        }
        thread::sleep(LOOK_INTERVAL);
    }
    false
}

/// Creates the folder, as the app does: it may be removed, or the app may have died before its first line.
fn create(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if !fs::symlink_metadata(folder)?.is_dir() {
        // It would lead out of the folder.
        return Err(io::Error::other("it is a symbolic link"));
    }
    Ok(())
}

/// Opens and locks a file that the app has begun, or begins it again.
fn existing(path: &Path) -> io::Result<File> {
    const ATTEMPTS: u32 = 10;
    for _ in 0..ATTEMPTS {
        if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::other("it is not a file"));
        }
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        // An app that looks which files are old may have it.
        lock(&file, LOOK);
        // The next start of the app may have removed it as an old file before it was locked.
        let own = file.metadata()?;
        if fs::symlink_metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()))
        {
            return Ok(file);
        }
    }
    Err(io::Error::other("it does not stay in its place"))
}

/// Begins a file, as the app does.
fn begin(folder: &Path, program: &str) -> io::Result<File> {
    create(folder)?;
    let now = millis();
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    for at in now..now + 100 {
        let path = folder.join(log_lines::file_name(at, program));
        match OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
            Ok(file) => {
                let _ = file.try_lock();
                return Ok(file);
            }
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}
