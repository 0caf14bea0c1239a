//! The last lines of a run's output, for its failures and its exit report.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use pillion_protocol::visible_part;

use super::{OutputBatch, OutputLine, OutputStream, UnfinishedLine};

/// How many of the last lines of each stream are kept, whatever the other one writes.
pub(crate) const LAST_LINES: usize = 20;
/// The tail keeps at most this many bytes and lines.
const TAIL_BYTES: usize = 64 * 1024;
const TAIL_LINES: usize = 100;

/// The last lines of output as a terminal shows them, both streams in the order of their arrival.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    /// The newest batch, if it alone fills the tail: the next one like it replaces it, unread. A flood of lines costs nothing here.
    newest: Option<Arc<OutputBatch>>,
    /// The lines before it.
    lines: VecDeque<(OutputStream, Vec<u8>, u64)>,
    /// How many of the lines are of stdout.
    of_stdout: usize,
    bytes: usize,
    /// The unfinished lines, at most one of each stream, as they were last published.
    unfinished: Vec<UnfinishedLine>,
}

impl Tail {
    pub(crate) fn push(&mut self, batch: &Arc<OutputBatch>) {
        if batch.is_empty() {
            return;
        }
        self.unfinished.retain(|line| line.stream != batch.stream);
        let fills = batch.len() >= TAIL_LINES;
        if let Some(newest) = self.newest.take()
            && !(fills && newest.stream == batch.stream)
        {
            self.add(&newest);
        }
        if fills {
            self.newest = Some(Arc::clone(batch));
        } else {
            self.add(batch);
        }
    }

    fn add(&mut self, batch: &OutputBatch) {
        for line in batch.last_lines(TAIL_LINES) {
            let bytes = visible_part(line.bytes);
            self.bytes += bytes.len();
            self.of_stdout += usize::from(batch.stream == OutputStream::Stdout);
            self.lines.push_back((batch.stream, bytes.to_vec(), line.dropped));
            while self.lines.len() > TAIL_LINES || self.bytes > TAIL_BYTES {
                self.remove_oldest();
            }
        }
    }

    /// The tail with all of its lines in `lines`.
    fn complete(&self) -> Cow<'_, Self> {
        match &self.newest {
            Some(newest) => {
                let mut tail = self.clone();
                tail.add(newest);
                Cow::Owned(tail)
            }
            None => Cow::Borrowed(self),
        }
    }

    /// Removes the oldest line, but none of the last lines of a stream while the other one has more: a flood of requests that are logged
    /// on stdout must not push out the error on stderr.
    fn remove_oldest(&mut self) {
        let (stdout, stderr) = (self.of_stdout, self.lines.len() - self.of_stdout);
        let count = |stream| if stream == OutputStream::Stdout { stdout } else { stderr };
        let spare = self.lines.iter().position(|(stream, ..)| count(*stream) > LAST_LINES);
        if let Some((stream, bytes, _)) = self.lines.remove(spare.unwrap_or(0)) {
            self.of_stdout -= usize::from(stream == OutputStream::Stdout);
            self.bytes -= bytes.len();
        }
    }

    pub(crate) fn set_unfinished(&mut self, line: UnfinishedLine) {
        self.unfinished.retain(|other| other.stream != line.stream);
        self.unfinished.push(line);
    }

    /// The last `count` lines as text, oldest first. Unfinished lines are the last ones.
    pub(crate) fn last(&self, count: usize) -> Vec<String> {
        let text = |(_, bytes, dropped): &(OutputStream, Vec<u8>, u64)| {
            OutputLine { bytes, dropped: *dropped }.text()
        };
        let Self { lines, unfinished, .. } = &*self.complete();
        let skipped = (lines.len() + unfinished.len()).saturating_sub(count);
        let unfinished = unfinished.iter().map(|line| line.text.clone());
        lines.iter().map(text).chain(unfinished).skip(skipped).collect()
    }

    /// The last `count` lines of one stream as text, oldest first, among those that are kept.
    pub(crate) fn last_of(&self, stream: OutputStream, count: usize) -> Vec<String> {
        let tail = self.complete();
        let of_stream = tail.lines.iter().rev().filter(|(of, ..)| *of == stream).take(count);
        let text = of_stream.map(|(_, bytes, dropped)| OutputLine { bytes, dropped: *dropped }.text());
        let mut lines: Vec<_> = text.collect();
        lines.reverse();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::shared, *};
    use crate::output::LINE_LIMIT;

    #[test]
    fn the_tail_ends_with_the_unfinished_lines() {
        let unfinished = |stream, text: &str| UnfinishedLine { stream, text: text.to_owned() };
        let mut tail = Tail::default();
        tail.push(&shared(OutputStream::Stdout, b"one\n"));
        tail.set_unfinished(unfinished(OutputStream::Stdout, "Password: "));
        tail.set_unfinished(unfinished(OutputStream::Stderr, "10%"));
        tail.set_unfinished(unfinished(OutputStream::Stderr, "20%"));
        assert_eq!(tail.last(10), ["one", "Password: ", "20%"]);
        tail.push(&shared(OutputStream::Stderr, b"100%\n"));
        assert_eq!(tail.last(2), ["100%", "Password: "]);
        assert!(!format!("{tail:?}").contains("Password"));
    }

    #[test]
    fn the_tail_keeps_the_last_lines_within_its_limits() {
        let mut tail = Tail::default();
        for number in 0..1000 {
            tail.push(&shared(OutputStream::Stdout, format!("a {number}\nb {number}\n").as_bytes()));
        }
        assert_eq!(tail.last(3), ["b 998", "a 999", "b 999"]);
        assert_eq!(tail.last(10_000).len(), TAIL_LINES);
        for _ in 0..20 {
            tail.push(&shared(OutputStream::Stdout, &[b"x".repeat(100_000), b"\n".to_vec()].concat()));
        }
        assert!(tail.bytes <= TAIL_BYTES && tail.lines.len() == TAIL_BYTES / LINE_LIMIT);
        assert!(tail.last(1)[0].ends_with("x … (91808 bytes more)"));
    }

    #[test]
    fn a_flood_on_one_stream_leaves_the_last_lines_of_the_other_one() {
        let mut tail = Tail::default();
        for number in 0..30 {
            tail.push(&shared(OutputStream::Stderr, format!("error {number}\n").as_bytes()));
        }
        for number in 0..1000 {
            tail.push(&shared(OutputStream::Stdout, format!("GET /{number}\n").as_bytes()));
        }
        let errors = tail.last_of(OutputStream::Stderr, 100);
        assert_eq!((errors.len(), errors[0].as_str()), (LAST_LINES, "error 10"));
        assert_eq!(tail.last_of(OutputStream::Stdout, 1), ["GET /999"]);
        assert_eq!(tail.lines.len(), TAIL_LINES);
    }

    #[test]
    fn a_batch_that_fills_the_tail_leaves_what_all_lines_would() {
        let many = |name: &str| (0..150).map(|number| format!("{name} {number}\n")).collect::<String>();
        let long = |byte: u8| {
            [byte].repeat(LINE_LIMIT - 1).into_iter().chain([b'\n']).collect::<Vec<_>>().repeat(TAIL_LINES)
        };
        let (mut tail, mut plain) = (Tail::default(), Tail::default());
        for (stream, text) in [
            (OutputStream::Stderr, many("error").into_bytes()),
            (OutputStream::Stdout, many("a").into_bytes()),
            (OutputStream::Stdout, many("b").into_bytes()),
            (OutputStream::Stderr, b"one error\n".to_vec()),
            (OutputStream::Stdout, b"short\n".to_vec()),
            (OutputStream::Stdout, many("c").into_bytes()),
            (OutputStream::Stdout, long(b'x')),
            (OutputStream::Stdout, long(b'y')),
            (OutputStream::Stderr, many("error").into_bytes()),
            (OutputStream::Stdout, many("d").into_bytes()),
        ] {
            let batch = shared(stream, &text);
            tail.push(&batch);
            plain.add(&batch);
            assert_eq!(tail.last(1000), plain.last(1000));
            for stream in [OutputStream::Stdout, OutputStream::Stderr] {
                assert_eq!(tail.last_of(stream, 1000), plain.last_of(stream, 1000));
            }
        }
    }
}
