//! One stream of a process: reads it, to the journal of the run if there is one, and cuts it into lines.

use std::{cell::RefCell, fmt, io, time::Duration};

use pillion_protocol::LineFramer;
use tokio::time::Instant;

use super::{
    LINE_LIMIT, OutputStream, Read, UnfinishedLine,
    journal::StreamJournal,
    lines::{Lines, frame},
};
use crate::sys::OutputPipe;

/// How many bytes are read at once at most: the capacity of a pipe on Linux (pipe(7)).
const CHUNK: usize = 64 * 1024;
/// A line is published after this time if its newline is still missing.
const UNFINISHED_DELAY: Duration = Duration::from_millis(250);
/// How often the changes of one unfinished line are published at most.
const UNFINISHED_INTERVAL: Duration = Duration::from_secs(1);
/// How many bytes of a dead process are read from each pipe. Without privileges a pipe holds at most 1 MiB (pipe(7)), so this is
/// everything, unless another process still writes.
const LEFT_BEHIND_LIMIT: usize = 1024 * 1024;

thread_local! {
    /// The memory for reads without a journal. What is read is cut into lines before this thread does anything else, so that all sidecars
    /// share it: each of many writes little, and is quiet most of the time.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One stream of a process.
pub(super) struct Source {
    stream: OutputStream,
    /// `None` after the end of the stream.
    pub(super) pipe: Option<OutputPipe>,
    framer: LineFramer,
    /// When to publish the unfinished line, if it has changed since it was published.
    pub(super) due: Option<Instant>,
    /// Whether the unfinished line was published before.
    published: bool,
    journal: Option<StreamJournal>,
    /// How much of what a dead process left may still be read.
    left: usize,
}

impl Source {
    pub(super) fn new(stream: OutputStream, pipe: OutputPipe, journal: Option<StreamJournal>) -> Self {
        let framer = LineFramer::new(LINE_LIMIT);
        let (pipe, left) = (Some(pipe), LEFT_BEHIND_LIMIT);
        Self { stream, pipe, framer, due: None, published: false, journal, left }
    }

    pub(super) async fn read(&mut self) -> Read {
        loop {
            let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
            let readable = pipe.readable().await;
            let mut lines = Lines::new(self.stream);
            if readable.is_err() {
                self.end(&mut lines);
            } else if self.take_available(&mut lines, OutputPipe::read).is_none() {
                continue;
            }
            return lines.finish();
        }
    }

    /// Reads what is available; `None` if there is nothing.
    pub(super) fn read_available(&mut self) -> Option<Read> {
        let mut lines = Lines::new(self.stream);
        self.take_available(&mut lines, OutputPipe::read).map(|_| lines.finish())
    }

    /// Whether the journal has room for the next read.
    pub(super) fn has_room(&self) -> bool {
        self.journal.as_ref().is_none_or(StreamJournal::has_room)
    }

    pub(super) async fn read_rest(&mut self) -> Option<Read> {
        let mut lines = Lines::new(self.stream);
        if let Some(pipe) = &mut self.pipe
            && self.left > 0
        {
            pipe.readable_now().await;
            if let Some(count) = self.take_available(&mut lines, OutputPipe::read_now) {
                self.left = self.left.saturating_sub(count);
                return Some(lines.finish());
            }
        }
        self.left = 0;
        if self.framer.unfinished().is_some() {
            // The rest of it will not come.
            self.finish(&mut lines);
            return Some(lines.finish());
        }
        self.left = LEFT_BEHIND_LIMIT;
        None
    }

    /// The unfinished line, which is due again once it has changed.
    pub(super) fn read_unfinished(&mut self) -> Read {
        (self.due, self.published) = (None, true);
        let unfinished = self.framer.unfinished().map(|line| UnfinishedLine::new(self.stream, &line));
        Read { unfinished, ..Lines::new(self.stream).finish() }
    }

    fn finish(&mut self, lines: &mut Lines) {
        (self.due, self.published) = (None, false);
        self.framer.finish(|line| lines.push(&line, true));
        lines.slot = self.journal.as_mut().and_then(StreamJournal::end);
    }

    /// Reads what is available, to the journal if it has room. Returns the number of bytes; `None` if nothing was available.
    fn take_available(&mut self, lines: &mut Lines, read: ReadPipe) -> Option<usize> {
        let Self { pipe, journal, framer, .. } = self;
        let pipe = pipe.as_mut()?;
        let before = lines.batch.len();
        // It has no room if the disk hangs.
        let count = if let Some(memory) = journal.as_mut().and_then(StreamJournal::buffer) {
            let count = count(read(pipe, memory))?;
            let (slot, chunk) =
                journal.as_mut().filter(|_| count > 0).and_then(|it| it.filled(count)).unzip();
            lines.slot = slot;
            frame(framer, chunk.unwrap_or_default(), lines);
            count
        } else {
            BUFFER.with_borrow_mut(|buffer| {
                buffer.resize(CHUNK, 0);
                let count = count(read(pipe, buffer))?;
                if let Some(journal) = journal.as_mut().filter(|_| count > 0) {
                    journal.skip(&buffer[..count]);
                }
                frame(framer, &buffer[..count], lines);
                Some(count)
            })?
        };
        if count == 0 {
            self.end(lines);
        } else {
            self.note_unfinished(lines.batch.len() > before);
        }
        Some(count)
    }

    /// The stream has ended.
    fn end(&mut self, lines: &mut Lines) {
        self.pipe = None;
        self.finish(lines);
    }

    /// Notes when the unfinished line is to be published, after a read that `completed` lines or not.
    fn note_unfinished(&mut self, completed: bool) {
        // A line that has just begun is not due with the line before it.
        if completed {
            (self.due, self.published) = (None, false);
        }
        if self.due.is_none() && self.framer.unfinished().is_some() {
            let wait = if self.published { UNFINISHED_INTERVAL } else { UNFINISHED_DELAY };
            self.due = Some(Instant::now() + wait);
        }
    }
}

/// How a pipe is read without waiting. `None` if there is nothing to read.
type ReadPipe = fn(&mut OutputPipe, &mut [u8]) -> Option<io::Result<usize>>;

/// The number of bytes that were read; 0 at the end of the stream. `None` if nothing was available.
fn count(read: Option<io::Result<usize>>) -> Option<usize> {
    match read? {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
        Ok(count) => Some(count),
        // A read error counts as the end of the stream. The exit of the process is watched separately.
        Err(_) => Some(0),
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {}", self.stream, if self.pipe.is_some() { "open" } else { "ended" })
    }
}
