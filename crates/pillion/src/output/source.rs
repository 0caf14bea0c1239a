//! One stream of a process: reads it, to the journal of the run if there is one, and cuts it into lines.

use std::{fmt, io, time::Duration};

use pillion_protocol::LineFramer;
use tokio::time::Instant;

use super::{
    LINE_LIMIT, OutputStream, Read, UnfinishedLine,
    journal::StreamJournal,
    lines::{Lines, frame},
};
use crate::sys::OutputPipe;

/// The size of the first read buffer. Most sidecars write little, and a program may supervise many.
const FIRST_CHUNK: usize = 4 * 1024;
/// The size of the read buffer after a full read: the capacity of a pipe on Linux (pipe(7)).
const CHUNK: usize = 64 * 1024;
/// A line is published after this time if its newline is still missing.
const UNFINISHED_DELAY: Duration = Duration::from_millis(250);
/// How often the changes of one unfinished line are published at most.
const UNFINISHED_INTERVAL: Duration = Duration::from_secs(1);
/// How many bytes of a dead process are read from each pipe. Without privileges a pipe holds at most 1 MiB (pipe(7)), so this is
/// everything, unless another process still writes.
const LEFT_BEHIND_LIMIT: usize = 1024 * 1024;

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
    /// The memory for reads without a journal.
    buffer: Vec<u8>,
    /// How much of what a dead process left may still be read.
    left: usize,
}

impl Source {
    pub(super) fn new(stream: OutputStream, pipe: OutputPipe, journal: Option<StreamJournal>) -> Self {
        let framer = LineFramer::new(LINE_LIMIT);
        let (pipe, left) = (Some(pipe), LEFT_BEHIND_LIMIT);
        Self { stream, pipe, framer, due: None, published: false, journal, buffer: Vec::new(), left }
    }

    pub(super) async fn read(&mut self) -> Read {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        let (buffer, journaled) = memory(&mut self.journal, &mut self.buffer);
        let result = pipe.read(buffer).await;
        let mut lines = Lines::new(self.stream);
        self.take(result, journaled, &mut lines);
        lines.finish()
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
            let (buffer, journaled) = memory(&mut self.journal, &mut self.buffer);
            if let Some(result) = pipe.read_now(buffer).await {
                self.left = self.left.saturating_sub(*result.as_ref().unwrap_or(&0));
                self.take(result, journaled, &mut lines);
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

    /// Takes the result of a read to the journal, or to the memory without one.
    fn take(&mut self, result: io::Result<usize>, journaled: bool, lines: &mut Lines) {
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A read error counts as the end of the stream. The exit of the process is watched separately.
            Ok(0) | Err(_) => {
                self.pipe = None;
                self.finish(lines);
            }
            Ok(count) => {
                let before = lines.batch.len();
                let chunk = match &mut self.journal {
                    Some(journal) if journaled => {
                        let Some((slot, chunk)) = journal.filled(count) else { return };
                        lines.slot = Some(slot);
                        chunk
                    }
                    Some(journal) => {
                        journal.skip(&self.buffer[..count]);
                        &self.buffer[..count]
                    }
                    None => &self.buffer[..count],
                };
                frame(&mut self.framer, chunk, lines);
                // A line that has just begun is not due with the line before it.
                if lines.batch.len() > before {
                    (self.due, self.published) = (None, false);
                }
                if self.due.is_none() && self.framer.unfinished().is_some() {
                    let wait = if self.published { UNFINISHED_INTERVAL } else { UNFINISHED_DELAY };
                    self.due = Some(Instant::now() + wait);
                }
                if !journaled && count == self.buffer.len() && count < CHUNK {
                    self.buffer = vec![0; CHUNK];
                }
            }
        }
    }
}

/// The memory for the next read, and whether it is in the journal. It is not if there is none, or no room in it because of a disk that hangs.
fn memory<'a>(journal: &'a mut Option<StreamJournal>, buffer: &'a mut Vec<u8>) -> (&'a mut [u8], bool) {
    if let Some(memory) = journal.as_mut().and_then(StreamJournal::buffer) {
        return (memory, true);
    }
    if buffer.is_empty() {
        buffer.resize(FIRST_CHUNK, 0);
    }
    (buffer, false)
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {}", self.stream, if self.pipe.is_some() { "open" } else { "ended" })
    }
}
