//! What a sidecar writes: drained for as long as it lives, cut into lines, in bounded memory.

use std::{collections::VecDeque, fmt, io, sync::Arc};

use pillion_protocol::{Announcement, Line, LineFramer};
use serde::{Deserialize, Serialize};

use crate::sys::OutputPipe;

/// How many bytes of a line are kept; the rest of a longer one is counted and dropped.
pub const LINE_LIMIT: usize = 8 * 1024;

/// How much is read at once at first. Most sidecars say little, and there may be many.
const FIRST_CHUNK: usize = 4 * 1024;
/// How much is read at once from one that says much: the size of a pipe on Linux (pipe(7)).
const CHUNK: usize = 64 * 1024;
/// How many bytes and lines the tail keeps.
const TAIL_BYTES: usize = 64 * 1024;
const TAIL_LINES: usize = 100;
/// How much is read of what a dead process left behind. A pipe holds at most 1 MiB without privileges (pipe(7)), so
/// this is all of it, unless somebody else still writes.
const LEFT_BEHIND: usize = 1024 * 1024;

/// Which standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputLine<'a> {
    /// Its bytes, without the newline; at most [`LINE_LIMIT`].
    pub bytes: &'a [u8],
    /// How many bytes beyond the limit were dropped.
    pub dropped: u64,
}

impl OutputLine<'_> {
    /// The line as text; invalid UTF-8 becomes U+FFFD, and a cut is marked.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(self.bytes).into_owned();
        if self.dropped > 0 {
            text += &format!(" … ({} bytes more)", self.dropped);
        }
        text
    }
}

/// The lines that one read completed. Sharing them costs the same however many they are.
#[derive(Clone)]
#[non_exhaustive]
pub struct OutputBatch {
    /// Where they were written.
    pub stream: Stream,
    /// The lines, each with its newline: a flood of empty lines must not take more memory than it has bytes.
    bytes: Vec<u8>,
    count: usize,
    /// The lines that were cut, by their index, and how much of them was dropped. Each of them holds [`LINE_LIMIT`]
    /// bytes, so that there are few.
    cut: Vec<(usize, u64)>,
}

impl OutputBatch {
    fn new(stream: Stream) -> Self {
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

    /// How many lines they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none, as when a read ends within a line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The lines, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = OutputLine<'_>> {
        let mut cut = self.cut.iter().peekable();
        let lines = self.bytes.split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1]);
        lines.enumerate().map(move |(index, bytes)| {
            let dropped = cut.next_if(|(line, _)| *line == index).map_or(0, |(_, dropped)| *dropped);
            OutputLine { bytes, dropped }
        })
    }
}

impl fmt::Debug for OutputBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {} lines", self.stream, self.count)
    }
}

/// What one read brought.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) lines: Arc<OutputBatch>,
    /// Announcements among them, which only stdout can carry.
    pub(crate) announcements: Vec<Announcement>,
}

/// Both streams of one process.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: Source,
    stderr: Source,
}

impl Output {
    pub(crate) fn new(stdout: OutputPipe, stderr: OutputPipe) -> Self {
        Self { stdout: Source::new(Stream::Stdout, stdout), stderr: Source::new(Stream::Stderr, stderr) }
    }

    /// Waits for output. Never returns once both streams have ended. Nothing is lost when it is dropped.
    pub(crate) async fn read(&mut self) -> Read {
        tokio::select! {
            read = self.stdout.read() => read,
            read = self.stderr.read() => read,
        }
    }

    /// Reads what the process left behind when it died, without waiting for others who hold its pipes.
    pub(crate) async fn read_rest(&mut self) -> [Read; 2] {
        [self.stderr.read_rest().await, self.stdout.read_rest().await]
    }
}

struct Source {
    stream: Stream,
    /// `None` after its end.
    pipe: Option<OutputPipe>,
    framer: LineFramer,
    buffer: Vec<u8>,
}

impl Source {
    fn new(stream: Stream, pipe: OutputPipe) -> Self {
        let buffer = vec![0; FIRST_CHUNK];
        Self { stream, pipe: Some(pipe), framer: LineFramer::new(LINE_LIMIT), buffer }
    }

    async fn read(&mut self) -> Read {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        let result = pipe.read(&mut self.buffer).await;
        let mut lines = Lines::new(self.stream);
        self.take(result, &mut lines);
        lines.finish()
    }

    async fn read_rest(&mut self) -> Read {
        let mut lines = Lines::new(self.stream);
        let mut left = LEFT_BEHIND;
        while let Some(pipe) = &mut self.pipe
            && left > 0
            && let Some(result) = pipe.read_now(&mut self.buffer).await
        {
            left = left.saturating_sub(*result.as_ref().unwrap_or(&0));
            self.take(result, &mut lines);
        }
        // Nobody will write the rest of this line any more.
        self.framer.finish(|line| lines.push(&line));
        lines.finish()
    }

    fn take(&mut self, result: io::Result<usize>, lines: &mut Lines) {
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A pipe that cannot be read is at its end for us, and the process's own exit tells the rest.
            Ok(0) | Err(_) => {
                self.pipe = None;
                self.framer.finish(|line| lines.push(&line));
            }
            Ok(count) => {
                self.framer.feed(&self.buffer[..count], |line| lines.push(&line));
                if count == self.buffer.len() && count < CHUNK {
                    self.buffer = vec![0; CHUNK];
                }
            }
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {}", self.stream, if self.pipe.is_some() { "open" } else { "ended" })
    }
}

/// The lines of one read, as they come.
struct Lines {
    batch: OutputBatch,
    announcements: Vec<Announcement>,
}

impl Lines {
    fn new(stream: Stream) -> Self {
        Self { batch: OutputBatch::new(stream), announcements: Vec::new() }
    }

    fn push(&mut self, line: &Line<'_>) {
        if self.batch.stream == Stream::Stdout {
            self.announcements.extend(Announcement::read(line));
        }
        self.batch.push(line);
    }

    fn finish(self) -> Read {
        Read { lines: Arc::new(self.batch), announcements: self.announcements }
    }
}

/// The last lines of a sidecar's output, both streams as they came.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    lines: VecDeque<(Vec<u8>, u64)>,
    bytes: usize,
}

impl Tail {
    pub(crate) fn push(&mut self, batch: &OutputBatch) {
        let skipped = batch.len().saturating_sub(TAIL_LINES);
        for line in batch.lines().skip(skipped) {
            self.bytes += line.bytes.len();
            self.lines.push_back((line.bytes.to_vec(), line.dropped));
            while self.lines.len() > TAIL_LINES || self.bytes > TAIL_BYTES {
                self.bytes -= self.lines.pop_front().map_or(0, |(bytes, _)| bytes.len());
            }
        }
    }

    /// The last `count` lines as text, oldest first.
    pub(crate) fn last(&self, count: usize) -> Vec<String> {
        let skipped = self.lines.len().saturating_sub(count);
        let text = |(bytes, dropped): &(Vec<u8>, u64)| OutputLine { bytes, dropped: *dropped }.text();
        self.lines.iter().skip(skipped).map(text).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn batch(stream: Stream, text: &[u8]) -> OutputBatch {
        let mut batch = OutputBatch::new(stream);
        LineFramer::new(LINE_LIMIT).feed(text, |line| batch.push(&line));
        batch
    }

    #[test]
    fn a_batch_gives_back_its_lines() {
        let batch = batch(Stream::Stderr, b"one\n\nthr\xffe\r\n");
        let texts: Vec<_> = batch.lines().map(|line| line.text()).collect();
        assert_eq!(texts, ["one", "", "thr\u{fffd}e"]);
    }

    #[test]
    fn the_tail_keeps_the_last_lines_within_its_limits() {
        let mut tail = Tail::default();
        for number in 0..1000 {
            tail.push(&batch(Stream::Stdout, format!("a {number}\nb {number}\n").as_bytes()));
        }
        assert_eq!(tail.last(3), ["b 998", "a 999", "b 999"]);
        assert_eq!(tail.last(10_000).len(), TAIL_LINES);
        for _ in 0..20 {
            tail.push(&batch(Stream::Stdout, &[b"x".repeat(100_000), b"\n".to_vec()].concat()));
        }
        assert!(tail.bytes <= TAIL_BYTES && tail.lines.len() == TAIL_BYTES / LINE_LIMIT);
        assert!(tail.last(1)[0].ends_with("x … (91808 bytes more)"));
    }
}
