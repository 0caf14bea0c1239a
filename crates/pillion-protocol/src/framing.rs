//! Cuts a byte stream into lines, for any bytes, in bounded memory.

use memchr::{memchr, memrchr};

/// One line of output, without its newline.
///
/// A line is bytes, because a sidecar need not write UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    bytes: &'a [u8],
    dropped: u64,
    terminated: bool,
}

impl<'a> Line<'a> {
    /// The line's bytes up to the framer's limit, without the newline and without carriage returns before it. Of a line beyond
    /// the limit, only the part after its last carriage return.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        strip_carriage_returns(self.bytes)
    }

    /// The line as text; each invalid UTF-8 sequence becomes U+FFFD.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// How many bytes were dropped because the part of the line that a terminal shows exceeds the framer's limit.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether the line ended with a newline. Only an unfinished line and the last line of a stream can lack it.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.terminated
    }

    /// The part of the line that a terminal shows ([`visible_part`]). Returns `None` if some of it was dropped.
    #[must_use]
    pub fn visible(&self) -> Option<&'a [u8]> {
        (self.dropped == 0).then(|| visible_part(self.bytes))
    }
}

/// The part of a line that a terminal shows: the bytes after its last carriage return. Carriage returns at its end do not count.
///
/// A progress bar redraws its line with `\r`, and the next text follows that byte.
///
/// ```
/// assert_eq!(pillion_protocol::visible_part(b"10%\r55%\r"), b"55%");
/// ```
#[must_use]
pub fn visible_part(line: &[u8]) -> &[u8] {
    let line = strip_carriage_returns(line);
    memrchr(b'\r', line).map_or(line, |at| &line[at + 1..])
}

fn strip_carriage_returns(bytes: &[u8]) -> &[u8] {
    let kept = bytes.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
    &bytes[..kept]
}

/// Cuts chunks of a stream into [`Line`]s. The chunks may be split at any byte.
///
/// Holds at most `limit` bytes of an unfinished line. Of a longer line it keeps the part that a terminal shows
/// ([`visible_part`]): a progress bar must not lose its last state. If that part exceeds the limit too, further bytes are counted
/// and dropped. Does not copy a line that lies within one chunk.
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
    /// Whether the line has exceeded the limit. From then on only its visible part counts.
    over_long: bool,
    /// Whether an over-long line ends with a carriage return that `partial` lacks: the next text overwrites the line.
    returned: bool,
}

impl LineFramer {
    /// Creates a framer that keeps up to `limit` bytes of each line.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, partial: Vec::new(), dropped: 0, over_long: false, returned: false }
    }

    /// Takes the next bytes of the stream. Calls `on_line` for each line that they complete.
    pub fn feed(&mut self, mut chunk: &[u8], mut on_line: impl FnMut(Line<'_>)) {
        while let Some(end) = memchr(b'\n', chunk) {
            let (rest, next) = (&chunk[..end], &chunk[end + 1..]);
            if self.is_between_lines() && rest.len() <= self.limit {
                on_line(Line { bytes: rest, dropped: 0, terminated: true });
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
        if let Some(line) = self.unfinished() {
            on_line(line);
            self.clear();
        }
    }

    /// The present line, if it has begun and has no newline yet, such as a prompt or a progress bar.
    #[must_use]
    pub fn unfinished(&self) -> Option<Line<'_>> {
        (!self.is_between_lines()).then(|| self.held(false))
    }

    fn is_between_lines(&self) -> bool {
        self.partial.is_empty() && !self.over_long
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = self.limit - self.partial.len();
        if bytes.len() <= room && !self.returned {
            self.partial.extend_from_slice(bytes);
        } else {
            self.hold_visible_part(bytes);
        }
    }

    /// Adds bytes to an over-long line, and drops what a terminal does not show.
    fn hold_visible_part(&mut self, bytes: &[u8]) {
        let was_over_long = std::mem::replace(&mut self.over_long, true);
        let text = strip_carriage_returns(bytes);
        if !text.is_empty() {
            let visible = visible_part(text);
            let ends_with_return = self.returned || self.partial.ends_with(b"\r");
            if visible.len() < text.len() || ends_with_return {
                self.partial.clear();
                self.dropped = 0;
            } else if !was_over_long && let Some(at) = memrchr(b'\r', &self.partial) {
                // Later, `partial` holds visible text alone, and no part of it is searched again.
                self.partial.drain(..=at);
            }
            let kept = visible.len().min(self.limit - self.partial.len());
            self.partial.extend_from_slice(&visible[..kept]);
            self.dropped += (visible.len() - kept) as u64;
            self.returned = false;
        }
        self.returned |= text.len() < bytes.len();
    }

    fn held(&self, terminated: bool) -> Line<'_> {
        let bytes = if self.over_long { visible_part(&self.partial) } else { &self.partial };
        Line { bytes, dropped: self.dropped, terminated }
    }

    fn clear(&mut self) {
        self.partial.clear();
        (self.dropped, self.over_long, self.returned) = (0, false, false);
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
    fn an_over_long_progress_bar_keeps_its_last_state() {
        let bar = b"#".repeat(500);
        let done = (b"done".to_vec(), 0, true, Some(b"done".to_vec()));
        for chunks in [
            &[&bar, b"\r".as_slice(), b"done", b"\n"] as &[&[u8]],
            &[&bar, b"\r", b"\r", b"do", b"ne\r", b"\n"],
            &[b"1%\r2%", b"\r3%\r4%\r5", b"%\rdone\r\n"],
            &[b"123456789\r", b"done\n"],
        ] {
            assert_eq!(frame(chunks, 10), std::slice::from_ref(&done), "{chunks:?}");
        }
        // The last state itself exceeds the limit.
        let cut = (b"abcdefghij".to_vec(), 2, true, None);
        assert_eq!(frame(&[b"12345\rabc", b"defghijkl\n"], 10), [cut]);
    }

    #[test]
    fn an_unfinished_line_can_be_read_before_its_end() {
        let mut framer = LineFramer::new(10);
        let states = [
            (b"one\n".as_slice(), None),
            (b"10%", Some("10%")),
            (b"\r20%\r", Some("20%")),
            (b"a longer state", Some("a longer s")),
            (b"\r30%", Some("30%")),
            (b"\n", None),
        ];
        for (chunk, state) in states {
            framer.feed(chunk, |_| {});
            let line = framer.unfinished().map(|line| visible_part(line.bytes()));
            assert_eq!(line, state.map(str::as_bytes), "{}", chunk.escape_ascii());
        }
    }

    #[test]
    fn memory_stays_bounded_without_a_newline() {
        let mut framer = LineFramer::new(1024);
        let noise = vec![b'x'; 64 * 1024];
        for _ in 0..1600 {
            framer.feed(&noise, |_| panic!("the stream has no newline"));
            assert!(framer.partial.capacity() <= 2048);
        }
        let mut dropped = 0;
        framer.feed(b"\n", |line| dropped = line.dropped());
        assert_eq!(dropped, 1600 * 64 * 1024 - 1024);
    }

    proptest! {
        /// The lines do not depend on where the chunks are split. An over-long line is cut to what a terminal shows of it.
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
            let lines = frame(&chunks, 16);
            prop_assert_eq!(&lines, &frame(&[&bytes], 16));
            let whole: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            prop_assert_eq!(lines.len(), whole.len());
            for (line, whole) in lines.iter().zip(whole) {
                let text = whole.strip_suffix(b"\n").unwrap_or(whole);
                let kept = if text.len() > 16 { visible_part(text) } else { strip_carriage_returns(text) };
                prop_assert_eq!(&line.0, &kept[..kept.len().min(16)]);
                prop_assert_eq!(line.1, kept.len().saturating_sub(16) as u64);
            }
        }
    }
}
