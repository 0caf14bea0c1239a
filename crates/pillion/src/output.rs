//! The output of a sidecar: drained while it lives, cut into lines, kept in bounded memory.

pub(crate) mod journal;
mod lines;
mod source;
mod tail;

use std::{borrow::Cow, fmt, sync::Arc};

use memchr::{memchr_iter, memrchr_iter};
use pillion_protocol::{Announcement, Line, NearMiss, defaults, visible_part};
use tokio::time::Instant;

use crate::{alarm::Alarm, status::OutputStream, sys::OutputPipe};
use journal::{Slot, StreamJournal};
use source::Source;
pub(crate) use tail::{LAST_LINES, Tail};

/// How many bytes of a line are kept. Of a longer line, the part after its last carriage return is kept, which a terminal shows; the
/// rest of that part is counted and dropped.
pub const LINE_LIMIT: usize = defaults::LINE_LIMIT;

/// A line of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputLine<'a> {
    /// The bytes without the newline, at most [`LINE_LIMIT`].
    pub bytes: &'a [u8],
    /// The number of bytes beyond the limit, which were dropped.
    pub dropped: u64,
}

impl OutputLine<'_> {
    /// The line as text, as a terminal shows it: the part after the last carriage return. Invalid UTF-8 becomes U+FFFD, and a note
    /// marks a cut line.
    #[must_use]
    pub fn text(&self) -> String {
        self.kept_text().into_owned() + &self.cut_note()
    }

    /// The text without the note.
    pub(crate) fn kept_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(visible_part(self.bytes))
    }

    /// The note that marks a cut line; empty for a whole one.
    pub(crate) fn cut_note(&self) -> String {
        pillion_guard::log_lines::cut_note(self.dropped)
    }
}

/// A line that has no newline yet, such as a prompt or a progress bar, as a terminal shows it now.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnfinishedLine {
    /// The stream that it was written to.
    pub stream: OutputStream,
    /// The text after the last carriage return. Invalid UTF-8 becomes U+FFFD, and a note marks a cut line.
    pub text: String,
}

impl UnfinishedLine {
    fn new(stream: OutputStream, line: &Line<'_>) -> Self {
        Self { stream, text: OutputLine { bytes: line.bytes(), dropped: line.dropped() }.text() }
    }
}

impl fmt::Debug for UnfinishedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: an unfinished line", self.stream)
    }
}

/// The lines that one read completed.
#[derive(Clone)]
#[non_exhaustive]
pub struct OutputBatch {
    /// The stream that they were written to.
    pub stream: OutputStream,
    /// The lines with their newlines, in one buffer: a flood of empty lines must not take more memory than it has bytes.
    bytes: Vec<u8>,
    count: usize,
    /// The index of each cut line, and how many of its bytes were dropped. There are few, because each holds [`LINE_LIMIT`] bytes.
    cut: Vec<(usize, u64)>,
}

impl OutputBatch {
    fn new(stream: OutputStream) -> Self {
        Self { stream, bytes: Vec::new(), count: 0, cut: Vec::new() }
    }

    fn push(&mut self, line: &Line<'_>) {
        if line.dropped() > 0 {
            self.cut.push((self.count, line.dropped()));
        }
        self.bytes.extend_from_slice(line.bytes());
        self.bytes.push(b'\n');
        self.count += 1;
    }

    /// Adds lines as they are, each with its newline.
    fn push_whole(&mut self, lines: &[u8]) {
        self.bytes.reserve_exact(lines.len());
        self.bytes.extend_from_slice(lines);
        self.count += memchr_iter(b'\n', lines).count();
    }

    /// The number of lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no line is complete, as when a read ends within a line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All lines, each with its newline.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes the lines take in memory.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = OutputLine<'_>> {
        self.last_lines(self.count)
    }

    /// The last `count` lines, oldest first, found without a look at the others.
    pub(crate) fn last_lines(&self, count: usize) -> impl Iterator<Item = OutputLine<'_>> {
        self.lines_at(self.count.saturating_sub(count), self.start_of_last(count))
    }

    /// The byte at which the last `count` lines begin.
    pub(crate) fn start_of_last(&self, count: usize) -> usize {
        // The newline before the first of them.
        let before = if count >= self.count { None } else { memrchr_iter(b'\n', &self.bytes).nth(count) };
        before.map_or(0, |before| before + 1)
    }

    /// The lines from the one with the index `first` on, which begins at the byte `start`.
    pub(crate) fn lines_at(&self, first: usize, start: usize) -> impl Iterator<Item = OutputLine<'_>> {
        let bytes = &self.bytes[start..];
        let mut cut = self.cut.iter().skip_while(move |(line, _)| *line < first).peekable();
        let mut start = 0;
        memchr_iter(b'\n', bytes).enumerate().map(move |(index, end)| {
            let line = &bytes[std::mem::replace(&mut start, end + 1)..end];
            let dropped = cut.next_if(|(line, _)| *line == first + index).map_or(0, |(_, dropped)| *dropped);
            OutputLine { bytes: line, dropped }
        })
    }
}

impl fmt::Debug for OutputBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} lines", self.stream, self.count)
    }
}

/// The result of one read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) lines: Arc<OutputBatch>,
    /// The announcements among the lines. Only stdout carries announcements.
    pub(crate) announcements: Vec<Announcement>,
    /// The last line that was probably meant as an announcement.
    pub(crate) near_miss: Option<NearMiss>,
    /// The last words of progress. Only stdout carries them.
    pub(crate) progress: Option<String>,
    /// An unfinished line, if it is time to publish it.
    pub(crate) unfinished: Option<UnfinishedLine>,
    /// Where it is in the journal of the run.
    pub(crate) slot: Option<Slot>,
}

/// Both streams of one process.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: Source,
    stderr: Source,
    /// Whether what a dead process left in stderr is read.
    stderr_is_read: bool,
    /// Rings when an unfinished line is due.
    alarm: Alarm,
}

impl Output {
    /// With a journal for each stream, output is read to it.
    pub(crate) fn new(stdout: OutputPipe, stderr: OutputPipe, journal: Option<[StreamJournal; 2]>) -> Self {
        let (first, second) = journal.map_or((None, None), |[first, second]| (Some(first), Some(second)));
        Self {
            stdout: Source::new(OutputStream::Stdout, stdout, first),
            stderr: Source::new(OutputStream::Stderr, stderr, second),
            stderr_is_read: false,
            alarm: Alarm::default(),
        }
    }

    /// Whether the journals have room for the next read.
    pub(crate) fn has_room(&self) -> bool {
        self.stdout.has_room() && self.stderr.has_room()
    }

    /// Waits for output. Never returns once both streams have ended. Cancel-safe: dropping the future loses no output.
    pub(crate) async fn read(&mut self) -> Read {
        let due = self.stdout.due.into_iter().chain(self.stderr.due).min();
        // A flood of output must not keep the unfinished line of the other stream from its turn.
        if due.is_none_or(|due| Instant::now() < due) {
            tokio::select! {
                read = self.stdout.read() => return read,
                read = self.stderr.read() => return read,
                () = self.alarm.wait(due) => {}
            }
        }
        if self.stdout.due == due { self.stdout.read_unfinished() } else { self.stderr.read_unfinished() }
    }

    /// Reads what is available of one stream; `None` if there is nothing, or if an unfinished line is due.
    pub(crate) fn read_available(&mut self, stream: OutputStream) -> Option<Read> {
        let due = self.stdout.due.into_iter().chain(self.stderr.due).min();
        if due.is_some_and(|due| Instant::now() >= due) {
            return None;
        }
        match stream {
            OutputStream::Stdout => self.stdout.read_available(),
            OutputStream::Stderr => self.stderr.read_available(),
        }
    }

    /// Reads a part of what a dead process left in its pipes; `None` once that is all. Does not wait for other processes that hold the
    /// pipes.
    pub(crate) async fn read_rest(&mut self) -> Option<Read> {
        if !self.stderr_is_read {
            if let Some(read) = self.stderr.read_rest().await {
                return Some(read);
            }
            self.stderr_is_read = true;
        }
        let read = self.stdout.read_rest().await;
        self.stderr_is_read = read.is_some();
        read
    }
}

#[cfg(test)]
pub(crate) mod tests;
