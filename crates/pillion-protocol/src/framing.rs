//! Cuts a byte stream into lines, for any bytes, in bounded memory.

use memchr::memchr;

/// How many of the last bytes of an over-long line are kept: enough for an announcement after a carriage return.
const TAIL: usize = 32;

/// One line of output, without its newline.
///
/// A line is bytes, because a sidecar need not write UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    bytes: &'a [u8],
    dropped: u64,
    terminated: bool,
    tail: &'a [u8],
}

impl<'a> Line<'a> {
    /// The line's bytes up to the framer's limit, without the newline and without carriage returns before it.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        if self.dropped == 0 { strip_carriage_returns(self.bytes) } else { self.bytes }
    }

    /// The line as text; each invalid UTF-8 sequence becomes U+FFFD.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// How many bytes of the line were dropped because they exceeded the framer's limit.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether the line ended with a newline. Only the last line of a stream can lack it.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.terminated
    }

    /// The part of the line that a terminal shows: the bytes after its last carriage return.
    ///
    /// A progress bar redraws its line with `\r`, and the next text follows that byte. Returns `None` if the line was
    /// over-long and the carriage return is not among its last bytes.
    #[must_use]
    pub fn visible(&self) -> Option<&'a [u8]> {
        let end = strip_carriage_returns(if self.dropped == 0 { self.bytes } else { self.tail });
        match memchr::memrchr(b'\r', end) {
            Some(at) => Some(&end[at + 1..]),
            None if self.dropped == 0 => Some(end),
            None => None,
        }
    }
}

fn strip_carriage_returns(bytes: &[u8]) -> &[u8] {
    let kept = bytes.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
    &bytes[..kept]
}

/// Cuts chunks of a stream into [`Line`]s. The chunks may be split at any byte.
///
/// Holds at most `limit` bytes of an unfinished line, and counts and drops further bytes up to the newline. Does not copy a
/// line that lies within one chunk.
///
/// ```
/// use pillion_protocol::LineFramer;
///
/// let mut lines = Vec::new();
/// let mut framer = LineFramer::new(1024);
/// for chunk in [b"one\ntw".as_slice(), b"o\n"] {
///     framer.feed(chunk, |line| lines.push(line.text()));
/// }
/// assert_eq!(lines, ["one", "two"]);
/// ```
#[derive(Debug)]
pub struct LineFramer {
    limit: usize,
    partial: Vec<u8>,
    dropped: u64,
    tail: Vec<u8>,
}

impl LineFramer {
    /// Creates a framer that keeps up to `limit` bytes of each line.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, partial: Vec::new(), dropped: 0, tail: Vec::new() }
    }

    /// Takes the next bytes of the stream. Calls `on_line` for each line that they complete.
    pub fn feed(&mut self, mut chunk: &[u8], mut on_line: impl FnMut(Line<'_>)) {
        while let Some(end) = memchr(b'\n', chunk) {
            let (rest, next) = (&chunk[..end], &chunk[end + 1..]);
            if self.is_between_lines() && rest.len() <= self.limit {
                on_line(Line { bytes: rest, dropped: 0, terminated: true, tail: &[] });
            } else {
                self.hold(rest);
                on_line(self.held(true));
                self.clear();
            }
            chunk = next;
        }
        self.hold(chunk);
    }

    /// Ends the stream. Calls `on_line` for the last line if it has no newline.
    pub fn finish(&mut self, mut on_line: impl FnMut(Line<'_>)) {
        if !self.is_between_lines() {
            on_line(self.held(false));
            self.clear();
        }
    }

    fn is_between_lines(&self) -> bool {
        self.partial.is_empty()
    }

    fn hold(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(self.limit - self.partial.len());
        self.partial.extend_from_slice(&bytes[..kept]);
        self.dropped += (bytes.len() - kept) as u64;
        if self.dropped > 0 {
            // The last bytes of the whole line: some may be in `partial`, some among the dropped ones.
            if self.tail.is_empty() {
                self.tail.extend_from_slice(&self.partial[self.partial.len().saturating_sub(TAIL)..]);
            }
            let cut = &bytes[kept..];
            self.tail.extend_from_slice(&cut[cut.len().saturating_sub(TAIL)..]);
            self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        }
    }

    fn held(&self, terminated: bool) -> Line<'_> {
        Line { bytes: &self.partial, dropped: self.dropped, terminated, tail: &self.tail }
    }

    fn clear(&mut self) {
        self.partial.clear();
        self.tail.clear();
        self.dropped = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (Vec<u8>, u64, bool, Option<Vec<u8>>);

    fn frame(chunks: &[&[u8]], limit: usize) -> Vec<Owned> {
        let mut framer = LineFramer::new(limit);
        let mut lines = Vec::new();
        let mut keep = |line: Line<'_>| {
            let visible = line.visible().map(<[u8]>::to_vec);
            lines.push((line.bytes().to_vec(), line.dropped(), line.is_terminated(), visible));
        };
        for chunk in chunks {
            framer.feed(chunk, &mut keep);
        }
        framer.finish(&mut keep);
        lines
    }

    fn texts(chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        frame(chunks, 64).into_iter().map(|line| line.0).collect()
    }

    #[test]
    fn a_line_ends_at_its_newline() {
        assert_eq!(texts(&[b"one\ntwo\n"]), [b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(frame(&[b"one"], 64), [(b"one".to_vec(), 0, false, Some(b"one".to_vec()))]);
        assert_eq!(texts(&[b"\n\n"]), [b"".to_vec(), b"".to_vec()]);
        assert!(frame(&[b"", b""], 64).is_empty());
    }

    #[test]
    fn carriage_returns_before_the_newline_are_stripped() {
        assert_eq!(texts(&[b"one\r\n"]), [b"one".to_vec()]);
        assert_eq!(texts(&[b"one\r", b"\n"]), [b"one".to_vec()]);
        assert_eq!(texts(&[b"one\r\r\n"]), [b"one".to_vec()]);
    }

    #[test]
    fn the_visible_part_follows_the_last_carriage_return() {
        let line = &frame(&[b"10%\r55%\rdone\r\n"], 64)[0];
        assert_eq!(line.0, b"10%\r55%\rdone");
        assert_eq!(line.3.as_deref(), Some(b"done".as_slice()));
    }

    #[test]
    fn an_over_long_line_is_cut_and_its_dropped_bytes_counted() {
        let lines = frame(&[b"0123456789abc", b"def", b"\nnext\n"], 10);
        assert_eq!(lines[0], (b"0123456789".to_vec(), 6, true, None));
        assert_eq!(lines[1].0, b"next");
    }

    #[test]
    fn the_last_text_of_an_over_long_progress_bar_stays_visible() {
        let bar = b"#".repeat(500);
        let lines = frame(&[&bar, b"\r", b"done", b"\n"], 10);
        assert_eq!(lines[0].3.as_deref(), Some(b"done".as_slice()));
        // The carriage return is among the kept bytes, the text among the dropped ones.
        let lines = frame(&[b"12345\r789", b"012345\n"], 10);
        assert_eq!(lines[0].3.as_deref(), Some(b"789012345".as_slice()));
    }

    #[test]
    fn memory_stays_bounded_without_a_newline() {
        let mut framer = LineFramer::new(1024);
        let noise = vec![b'x'; 64 * 1024];
        for _ in 0..1600 {
            framer.feed(&noise, |_| panic!("the stream has no newline"));
            assert!(framer.partial.capacity() <= 2048 && framer.tail.capacity() <= 256);
        }
        let mut dropped = 0;
        framer.feed(b"\n", |line| dropped = line.dropped());
        assert_eq!(dropped, 1600 * 64 * 1024 - 1024);
    }

    proptest! {
        /// The lines do not depend on where the chunks are split.
        #[test]
        fn chunk_boundaries_do_not_change_the_lines(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0..200_usize, 0..8),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            chunks.push(&bytes[from..]);
            prop_assert_eq!(frame(&chunks, 16), frame(&[&bytes], 16));
        }
    }
}
