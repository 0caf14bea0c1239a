//! The log file of the sidecar, to which the guard writes what the app could not write any more.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, FileExt, OpenOptionsExt},
        },
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    log_lines::{self, append_output, head, journal, level::Level, word},
    run_file::now,
    sys::{self, Outputs},
};

/// How many bytes of output the guard keeps until it writes them.
const KEPT: usize = 8 * 1024 * 1024;
/// How much is written at once.
const AT_ONCE: usize = 64 * 1024;
/// How long the guard waits until the system says that the app is no more. Its socket ends a moment before.
const DEATHS: u32 = 200;
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What the guard reads after the app's death, and where that is written to.
///
/// It is written when no process is left: a disk that does not answer must delay no request to stop, and no kill.
#[derive(Default)]
pub(crate) struct RunLog {
    /// The journal, and the place of the run in it.
    journal: Option<(File, usize)>,
    drained: Vec<Drained>,
    kept: usize,
    /// How many bytes were not kept.
    missing: u64,
}

/// What one read returned.
struct Drained {
    stream: usize,
    at: u64,
    bytes: Vec<u8>,
}

impl RunLog {
    pub(crate) fn new(journal: Option<OwnedFd>, run: Option<usize>) -> Self {
        Self { journal: journal.map(File::from).zip(run), ..Self::default() }
    }

    /// Keeps what was read from an output.
    pub(crate) fn add(&mut self, stream: usize, bytes: &[u8]) {
        if self.journal.is_none() {
            return;
        }
        if self.kept + bytes.len() > KEPT {
            self.missing += bytes.len() as u64;
            return;
        }
        self.kept += bytes.len();
        self.drained.push(Drained { stream, at: millis(), bytes: bytes.to_vec() });
    }

    /// Writes everything, if the app is dead. `end` says how the sidecar has ended. May block.
    pub(crate) fn write(&mut self, outputs: &mut Outputs, end: &str) {
        let Some((journal, run)) = self.journal.take() else { return };
        // What is written must be visible: the kernel copies it, and the app is no more.
        let mut header = vec![0; journal::HEADER];
        let mut content = vec![0; journal::RUN];
        let place = (journal::HEADER + run * journal::RUN) as u64;
        if journal.read_exact_at(&mut header, 0).is_err() || !app_is_dead(&header) {
            // The app has closed the socket, and writes its log file itself.
            return;
        }
        // Once more: the app may have written until it was dead.
        if journal.read_exact_at(&mut header, 0).is_err()
            || journal.read_exact_at(&mut content, place).is_err()
        {
            return;
        }
        self.journal = Some((journal, run));
        sys::ignore_size_limit();
        outputs.drain_all(self);
        // An error leaves the file without the last lines. Nothing can be told of it any more.
        let _ = self.write_all(&header, &content, run, end);
    }

    fn write_all(&self, header: &[u8], content: &[u8], run: usize, end: &str) -> io::Result<()> {
        let Some((journal, _)) = &self.journal else { return Ok(()) };
        let Some(commit) = journal::Commit::current(header) else { return Ok(()) };
        let name = journal::text(header, journal::NAME, journal::NAME_SIZE).unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        let number = journal::get(content, 0).unwrap_or_default();
        let token = &content[journal::TOKEN..journal::TOKEN + journal::TOKEN_SIZE];
        let token = token.iter().all(|digit| *digit != 0).then_some(token);
        let mut file = LogFile::open(header, &commit, journal)?;
        let mut text = Vec::new();
        let mut begun = [journal::Begun::default(), journal::Begun::default()];
        let mut first = [true; 2];
        for piece in journal::unwritten(content, &commit.written[run]) {
            let begun = &mut begun[piece.stream];
            if std::mem::take(&mut first[piece.stream]) {
                *begun = journal::Begun::new(piece.carry);
            }
            let head = head(piece.at.unwrap_or_else(millis), number, STREAMS[piece.stream]);
            let mut written = piece.written;
            let mut line = |line: &[u8], dropped| match written.checked_sub(1) {
                Some(left) => written = left,
                None => append_output(&head, line, dropped, token, &mut text),
            };
            begun.feed(piece.bytes, &mut line);
            if piece.end && !begun.is_empty() {
                begun.finish(&mut line);
            }
            file.append_if_full(&mut text)?;
        }
        let note = |text: &mut Vec<u8>, level, words: &str| {
            let head = head(millis(), number, "pillion");
            text.extend_from_slice(format!("{head}{} {name} {words}\n", word(Some(level))).as_bytes());
        };
        note(&mut text, Level::Warn, "is stopped by its guard, because the app has died");
        for Drained { stream, at, bytes } in &self.drained {
            let head = head(*at, number, STREAMS[*stream]);
            for part in bytes.chunks(1024) {
                begun[*stream]
                    .feed(part, |line, dropped| append_output(&head, line, dropped, token, &mut text));
                file.append_if_full(&mut text)?;
            }
        }
        for (begun, stream) in begun.iter_mut().zip(STREAMS).filter(|(begun, _)| !begun.is_empty()) {
            let head = head(millis(), number, stream);
            begun.finish(|line, dropped| append_output(&head, line, dropped, token, &mut text));
        }
        if self.missing > 0 {
            let words =
                format!("wrote {} bytes more, which are missing here: its guard keeps 8 MiB", self.missing);
            note(&mut text, Level::Warn, &words);
        }
        note(&mut text, Level::Info, end);
        file.append(&mut text)
    }
}

const STREAMS: [&str; 2] = ["stdout", "stderr"];

fn millis() -> u64 {
    u64::try_from(now()).unwrap_or(u64::MAX)
}

/// Whether the app is dead. It may live and have closed the socket.
fn app_is_dead(header: &[u8]) -> bool {
    let app = journal::get(header, journal::APP);
    for _ in 0..DEATHS {
        if app != Some(u64::from(sys::parent())) {
            return true;
        }
        thread::sleep(LOOK_INTERVAL);
    }
    false
}

/// The last log file of the app, and those that follow it.
struct LogFile {
    folder: PathBuf,
    program: String,
    max_bytes: u64,
    file: File,
    length: u64,
}

impl LogFile {
    /// Opens the last log file, without what the app had written after the commit: that is in the journal.
    fn open(header: &[u8], commit: &journal::Commit, journal: &File) -> io::Result<Self> {
        let folder = journal::text(header, journal::FOLDER, journal::FOLDER_SIZE).unwrap_or_default();
        let folder = PathBuf::from(OsStr::from_bytes(folder));
        let program = &header[journal::PROGRAM..journal::PROGRAM + 16];
        let program = String::from_utf8_lossy(program).into_owned();
        let max_bytes = journal::get(header, journal::MAX_BYTES).unwrap_or(u64::MAX);
        if commit.file.is_empty() {
            let file = begin(&folder, &program)?;
            return Ok(Self { folder, program, max_bytes, file, length: 0 });
        }
        let path = folder.join(&commit.file);
        if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::other("it is not a file"));
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        lock(&file);
        let mut recovered = [0; 8];
        journal.read_exact_at(&mut recovered, journal::RECOVERED as u64)?;
        let mut length = file.metadata()?.len();
        if recovered == [0; 8] {
            if length > commit.length {
                file.set_len(commit.length)?;
                length = commit.length;
            }
            journal.write_all_at(&1_u64.to_ne_bytes(), journal::RECOVERED as u64)?;
        }
        Ok(Self { folder, program, max_bytes, file, length })
    }

    fn append_if_full(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
        if text.len() < AT_ONCE { Ok(()) } else { self.append(text) }
    }

    /// Appends whole lines, to a new file if this one is full. Empties the text.
    fn append(&mut self, text: &mut Vec<u8>) -> io::Result<()> {
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

/// Waits for the lock: the guard of another run of this sidecar may write now. Goes on without it after two seconds, and where a file system
/// has no locks.
fn lock(file: &File) {
    const ATTEMPTS: u32 = 400;
    for _ in 0..ATTEMPTS {
        if !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return;
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Begins a file, as the app does.
fn begin(folder: &Path, program: &str) -> io::Result<File> {
    // The app may have died before its first line.
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let now = millis();
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    for at in now..now + 100 {
        let path = folder.join(log_lines::file_name(at, program));
        match OpenOptions::new().append(true).create_new(true).mode(0o600).open(path) {
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
