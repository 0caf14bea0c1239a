//! The journal: memory that the app shares with the guards of a sidecar. It holds the output that the app has read and not yet written to
//! the log file, so that a guard can write it after the app's death.
//!
//! ```text
//! header   the process id of the app, the largest size of a log file, name of the sidecar, folder, two commits
//! run 0    the number of the run, its token, and for each stream two counters and a ring of SLOTS slots
//! run 1 …
//! ```
//!
//! The app reads the n-th piece of a stream right into the slot `n % SLOTS`. It *prepares* the slot before: the bytes of the line that has
//! begun come first, then zeros. A read that the app could not count any more, because it was killed, ends with its last byte that is not
//! zero. A slot is used again only after all its lines are in the file.
//!
//! After each write to the log file the app writes the other commit, and then its number. A file that is longer than the commit says has
//! the next lines of each stream already, and besides them lines that are in no slot, such as those of the supervisor.

use super::LINE_LIMIT;

/// How many runs of a sidecar have a place: two during a swap, or more while old ones end slowly.
pub const RUNS: usize = 4;
/// How many pieces of a stream may be unwritten: as many as one write takes, and as many as are read meanwhile.
pub const SLOTS: usize = 8;
/// The most that is read at once.
pub const PIECE: usize = 64 * 1024;

/// The size of the header.
pub const HEADER: usize = 16 * 1024;
/// Where the fields of the header are.
pub const APP: usize = 0;
/// The number of the present commit; that one is at [`COMMITS`] or behind it, as the number is even or odd.
pub const CURRENT: usize = 8;
/// The size beyond which a new log file begins.
pub const MAX_BYTES: usize = 16;
/// Set by the first guard, which writes what all runs have in the journal.
pub const RECOVERED: usize = 24;
/// The random number of the program, in the names of its log files.
pub const PROGRAM: usize = 32;
/// The name of the sidecar: its length, and its bytes.
pub const NAME: usize = 64;
/// The most bytes of the name.
pub const NAME_SIZE: usize = 120;
/// The path of the folder: its length, and its bytes.
pub const FOLDER: usize = 256;
/// The most bytes of the path.
pub const FOLDER_SIZE: usize = 4096;
/// Where the two commits are.
pub const COMMITS: usize = 8 * 1024;
/// The size of a commit.
pub const COMMIT: usize = 1024;

/// The part of a run before its streams: the number of the run, and the token.
pub const RUN_HEAD: usize = 128;
/// Where the digits of the token are in it; zeros without one.
pub const TOKEN: usize = 8;
/// The number of digits of a token.
pub const TOKEN_SIZE: usize = 64;
/// The part of a stream before its slots: how many slots were prepared, how many of them are filled, and the number of the last one after
/// which bytes were read to other memory.
pub const STREAM_HEAD: usize = 64;
/// The second of these numbers.
pub const FILLED: usize = 8;
/// The third of these numbers.
pub const SKIPPED: usize = 16;
/// The part of a slot before its bytes.
pub const SLOT_HEAD: usize = 64;
/// A slot: its head, the line that has begun, and what was read.
pub const SLOT: usize = SLOT_HEAD + LINE_LIMIT + PIECE;
/// The size of a stream.
pub const STREAM: usize = STREAM_HEAD + SLOTS * SLOT;
/// The size of a run, whole pages of any size up to 64 KiB.
pub const RUN: usize = (RUN_HEAD + 2 * STREAM).next_multiple_of(64 * 1024);
/// The size of the journal.
pub const SIZE: usize = HEADER + RUNS * RUN;

/// Fields of the head of a slot: when it was read, in milliseconds since the Unix epoch; its number among the pieces of both streams; how
/// many bytes of a line that had begun come first; how many of that line were dropped; how many bytes were read; 1 at the end of the stream.
pub mod slot {
    /// When it was read.
    pub const AT: usize = 0;
    /// Its number among the pieces of both streams.
    pub const ORDER: usize = 8;
    /// The length of the line that had begun.
    pub const CARRY: usize = 16;
    /// How many bytes of that line were dropped.
    pub const DROPPED: usize = 24;
    /// How many bytes were read.
    pub const READ: usize = 32;
    /// 1 at the end of the stream.
    pub const END: usize = 40;
}

/// What is in the log files: their last one, its length, and for each stream of each run the number of the last slot whose lines are all
/// written, and how many lines of the next one are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// The name of the file; empty if none was begun.
    pub file: String,
    /// The length of its lines.
    pub length: u64,
    /// For each run and stream, the slot and the lines.
    pub written: [[Written; 2]; RUNS],
}

/// How much of a stream is in the log files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// The number of the last slot whose lines are all written.
    pub slot: u64,
    /// How many lines of the next slot are written.
    pub lines: u64,
}

/// The most bytes of a file's name in a commit.
const FILE_SIZE: usize = 120;

// Each part has its place.
const _: () = assert!(16 + FILE_SIZE + 16 * 2 * RUNS <= COMMIT && COMMITS + 2 * COMMIT <= HEADER);
const _: () = assert!(FOLDER + 8 + FOLDER_SIZE <= COMMITS && NAME + 8 + NAME_SIZE <= FOLDER);

impl Commit {
    /// Writes it to the beginning of `to`, which has [`COMMIT`] bytes.
    pub fn encode(&self, to: &mut [u8]) {
        let name = &self.file.as_bytes()[..self.file.len().min(FILE_SIZE)];
        put(to, 0, self.length);
        put(to, 8, name.len() as u64);
        to[16..16 + name.len()].copy_from_slice(name);
        for (at, written) in self.written.as_flattened().iter().enumerate() {
            put(to, 16 + FILE_SIZE + 16 * at, written.slot);
            put(to, 16 + FILE_SIZE + 16 * at + 8, written.lines);
        }
    }

    /// The present commit of a header. `None` if it is not one.
    #[must_use]
    pub fn current(header: &[u8]) -> Option<Self> {
        let at = COMMITS + usize::from(get(header, CURRENT)? % 2 == 1) * COMMIT;
        let commit = header.get(at..at + COMMIT)?;
        let file = text(commit, 8, FILE_SIZE)?;
        let mut written = [[Written::default(); 2]; RUNS];
        for (at, written) in written.as_flattened_mut().iter_mut().enumerate() {
            written.slot = get(commit, 16 + FILE_SIZE + 16 * at)?;
            written.lines = get(commit, 16 + FILE_SIZE + 16 * at + 8)?;
        }
        Some(Self { file: String::from_utf8(file.to_vec()).ok()?, length: get(commit, 0)?, written })
    }
}

/// Writes a number.
pub fn put(to: &mut [u8], at: usize, value: u64) {
    to[at..at + 8].copy_from_slice(&value.to_ne_bytes());
}

/// Reads a number.
#[must_use]
pub fn get(from: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(from.get(at..at + 8)?.try_into().ok()?))
}

/// Writes a text with its length before it. Returns false if it is too long.
pub fn put_text(to: &mut [u8], at: usize, most: usize, text: &[u8]) -> bool {
    if text.len() > most {
        return false;
    }
    put(to, at, text.len() as u64);
    to[at + 8..at + 8 + text.len()].copy_from_slice(text);
    true
}

/// Reads a text with its length before it.
#[must_use]
pub fn text(from: &[u8], at: usize, most: usize) -> Option<&[u8]> {
    let length = usize::try_from(get(from, at)?).ok().filter(|length| *length <= most)?;
    from.get(at + 8..at + 8 + length)
}

/// Output that is not in the log files.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// 0 for stdout, 1 for stderr.
    pub stream: usize,
    /// When it was read; `None` if the app could not note it any more.
    pub at: Option<u64>,
    /// The line that had begun before, of which so many bytes were dropped.
    pub carry: (&'a [u8], u64),
    /// The bytes.
    pub bytes: &'a [u8],
    /// How many of its lines are written.
    pub written: u64,
    /// Whether the stream ended with it, or bytes after it were read to other memory: what it has begun is a line.
    pub end: bool,
}

/// What a run has in the journal and not in the log files, in the order in which it was read. `commit` is what is written of the run.
#[must_use]
pub fn unwritten<'a>(run: &'a [u8], commit: &[Written; 2]) -> Vec<Piece<'a>> {
    let mut pieces = Vec::new();
    for (stream, written) in commit.iter().enumerate() {
        let Some(part) = run.get(RUN_HEAD + stream * STREAM..RUN_HEAD + (stream + 1) * STREAM) else {
            continue;
        };
        let (Some(prepared), Some(filled)) = (get(part, 0), get(part, FILLED)) else { continue };
        // The last written slot, if there is no later one: the line that has begun in it is not written.
        let first = if written.slot < prepared { written.slot + 1 } else { written.slot };
        // More than there can be: another version, or nothing at all.
        if first == 0 || prepared.saturating_sub(first) >= SLOTS as u64 || first > prepared {
            continue;
        }
        for number in first..=prepared {
            let lines = match number {
                _ if number == written.slot => u64::MAX,
                _ if number == written.slot + 1 => written.lines,
                _ => 0,
            };
            let piece = piece(part, stream, number, number <= filled, lines);
            // Beginnings of later slots have what was read to other memory before them.
            let cut = number == prepared && get(part, SKIPPED) == Some(number);
            pieces.extend(piece.map(|(order, piece)| (order, Piece { end: piece.end || cut, ..piece })));
        }
    }
    // A read that was not counted was the last one.
    pieces.sort_by_key(|(order, _)| *order);
    pieces.into_iter().map(|(_, piece)| piece).collect()
}

/// A slot of a stream, and its place among the others.
fn piece(part: &[u8], stream: usize, number: u64, filled: bool, written: u64) -> Option<(u64, Piece<'_>)> {
    let start = STREAM_HEAD + usize::try_from(number % SLOTS as u64).ok()? * SLOT;
    let slot = part.get(start..start + SLOT)?;
    let length = |at| usize::try_from(get(slot, at)?).ok();
    let bytes = &slot[SLOT_HEAD..];
    let (carry, bytes) = bytes.split_at_checked(length(slot::CARRY)?)?;
    let read = if filled {
        length(slot::READ)?
    } else {
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    };
    let piece = Piece {
        stream,
        at: if filled { get(slot, slot::AT) } else { None },
        carry: (carry, get(slot, slot::DROPPED)?),
        bytes: bytes.get(..read)?,
        written,
        end: filled && get(slot, slot::END)? == 1,
    };
    Some((if filled { get(slot, slot::ORDER)? } else { u64::MAX }, piece))
}

/// A line that has begun.
#[derive(Debug, Clone, Default)]
pub struct Begun {
    bytes: Vec<u8>,
    dropped: u64,
}

impl Begun {
    /// A line that has begun with these bytes, of which some more were dropped.
    #[must_use]
    pub fn new((bytes, dropped): (&[u8], u64)) -> Self {
        Self { bytes: bytes.to_vec(), dropped }
    }

    /// The bytes, at most [`LINE_LIMIT`], and how many more were dropped.
    #[must_use]
    pub fn parts(&self) -> (&[u8], u64) {
        (&self.bytes, self.dropped)
    }

    /// Takes the next bytes of the stream, and calls `on_line` for each line that they complete, with how many of its bytes were dropped.
    pub fn feed(&mut self, bytes: &[u8], mut on_line: impl FnMut(&[u8], u64)) {
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        lines.by_ref().for_each(|part| match part.strip_suffix(b"\n") {
            Some(line) if self.bytes.is_empty() && line.len() <= LINE_LIMIT => on_line(line, 0),
            Some(rest) => {
                self.hold(rest);
                self.finish(&mut on_line);
            }
            None => self.hold(part),
        });
    }

    /// Takes bytes whose lines are of no interest.
    pub fn skip(&mut self, bytes: &[u8]) {
        match super::last(bytes, b'\n') {
            Some(newline) => {
                self.bytes.clear();
                self.dropped = 0;
                self.hold(&bytes[newline + 1..]);
            }
            None => self.hold(bytes),
        }
    }

    /// The line is complete.
    pub fn finish(&mut self, mut on_line: impl FnMut(&[u8], u64)) {
        on_line(&self.bytes, self.dropped);
        self.bytes.clear();
        self.dropped = 0;
    }

    /// Whether no line has begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Of a line that is too long, keeps the beginning of what a terminal shows.
    fn hold(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() <= LINE_LIMIT {
            return self.bytes.extend_from_slice(bytes);
        }
        let text = super::without_returns(bytes);
        let shown = super::shown_part(text);
        if shown.len() < text.len() {
            self.bytes.clear();
            self.dropped = 0;
        } else if let Some(returned) = super::last(&self.bytes, b'\r') {
            self.bytes.drain(..=returned);
        }
        let kept = shown.len().min(LINE_LIMIT - self.bytes.len());
        self.bytes.extend_from_slice(&shown[..kept]);
        self.dropped += (shown.len() - kept) as u64;
    }
}

#[cfg(test)]
mod tests;
