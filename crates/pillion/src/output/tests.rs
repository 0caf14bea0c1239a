use pillion_protocol::LineFramer;
use proptest::prelude::*;

use super::{
    lines::{Lines, frame},
    *,
};

pub(crate) fn shared(stream: OutputStream, text: &[u8]) -> Arc<OutputBatch> {
    Arc::new(batch(stream, text))
}

pub(crate) fn batch(stream: OutputStream, text: &[u8]) -> OutputBatch {
    let mut batch = OutputBatch::new(stream);
    LineFramer::new(LINE_LIMIT).feed(text, |line| batch.push(&line));
    batch
}

/// What a read of this text returns.
pub(crate) fn read_of(stream: OutputStream, text: &[u8]) -> Read {
    let mut lines = Lines::new(stream);
    LineFramer::new(LINE_LIMIT).feed(text, |line| lines.push(&line, false));
    lines.finish()
}

#[test]
fn a_batch_returns_its_lines() {
    let batch = batch(OutputStream::Stderr, b"one\n\nthr\xffe\r\n");
    let texts: Vec<_> = batch.lines().map(|line| line.text()).collect();
    assert_eq!(texts, ["one", "", "thr\u{fffd}e"]);
}

#[test]
fn the_last_lines_of_a_batch_are_those_of_all_lines() {
    let long = b"x".repeat(LINE_LIMIT + 7);
    let batch = batch(OutputStream::Stdout, &[b"a\n\n", &long[..], b"\nb\n", &long[1..], b"\n\n"].concat());
    let all: Vec<_> = batch.lines().collect();
    assert_eq!(all.iter().map(|line| line.dropped).collect::<Vec<_>>(), [0, 0, 7, 0, 6, 0]);
    for count in 0..=7 {
        let last: Vec<_> = batch.last_lines(count).collect();
        assert_eq!(last, all[all.len().saturating_sub(count)..], "{count}");
    }
}

/// Reads the vectors of docs/protocol from real pipes.
#[cfg(unix)]
#[tokio::test]
async fn announcements_are_read_as_the_protocol_says() {
    use std::io::Write as _;

    use pillion_protocol::ListenAddr;
    use pillion_vectors::{Announcements, Platform};

    let file: Announcements = pillion_vectors::load("announcement.json").unwrap();
    for vector in file.vectors.iter().filter(|it| it.platform.is_none_or(Platform::is_this)) {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let bytes = vector.bytes();
        let writing = std::thread::spawn(move || writer.write_all(&bytes));
        let on_stderr = vector.stream.as_deref() == Some("stderr");
        let stream = if on_stderr { OutputStream::Stderr } else { OutputStream::Stdout };
        let mut source = Source::new(stream, OutputPipe::new(reader.into()).unwrap(), None);
        let mut outcome = pillion_vectors::ExpectedReading::default();
        while source.pipe.is_some() {
            let read = source.read().await;
            outcome.near_miss |= read.near_miss.is_some();
            for announcement in read.announcements {
                match announcement {
                    Announcement::Address(_) if outcome.announced.is_some() => outcome.repeated = true,
                    Announcement::Address(ListenAddr::Tcp(port)) => {
                        outcome.announced = Some(port.get().into());
                    }
                    Announcement::Address(ListenAddr::Local) if vector.given => {
                        outcome.announced = Some("local".into());
                    }
                    // The state machine knows that this run has no socket.
                    Announcement::Address(ListenAddr::Local) => outcome.refused = true,
                    Announcement::Malformed(line) => outcome.malformed = Some(line),
                    Announcement::Unfinished(line) => outcome.unfinished = Some(line),
                    unknown => panic!("{unknown:?}"),
                }
            }
        }
        writing.join().unwrap().unwrap();
        assert_eq!(outcome, vector.outcome, "{}", vector.name);
    }
}

/// Reads the vectors of docs/protocol from real pipes.
#[cfg(unix)]
#[tokio::test]
async fn progress_is_read_as_the_protocol_says() {
    use std::io::Write as _;

    let file: pillion_vectors::ProgressFile = pillion_vectors::load("progress.json").unwrap();
    for vector in &file.vectors {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let bytes = vector.bytes();
        let writing = std::thread::spawn(move || writer.write_all(&bytes));
        let on_stderr = vector.stream.as_deref() == Some("stderr");
        let stream = if on_stderr { OutputStream::Stderr } else { OutputStream::Stdout };
        let mut source = Source::new(stream, OutputPipe::new(reader.into()).unwrap(), None);
        let mut last = None;
        while source.pipe.is_some() {
            last = source.read().await.progress.or(last);
        }
        writing.join().unwrap().unwrap();
        assert_eq!(last, vector.progress, "{}", vector.name);
    }
}

#[test]
fn text_is_what_a_terminal_shows() {
    let batch = shared(OutputStream::Stderr, b"10%\r100%\r\n");
    let mut tail = Tail::default();
    tail.push(&batch);
    assert_eq!(tail.last(1), ["100%"]);
    assert_eq!(batch.lines().next().unwrap().bytes, b"10%\r100%");
    assert_eq!(batch.lines().next().unwrap().text(), "100%");
}

proptest! {
    /// Lines that are added as they are, all at once, are the same lines as one after the other, wherever the reads end.
    #[test]
    fn whole_lines_are_the_same_lines(
        parts in proptest::collection::vec(
            prop_oneof![
                4 => Just(b"\n".to_vec()),
                1 => Just(b"\r".to_vec()),
                1 => Just(b"BACKEND_STATUS:half".to_vec()),
                4 => proptest::collection::vec(b'a'..b'j', 0..20),
                1 => (LINE_LIMIT - 2..LINE_LIMIT + 3).prop_map(|length| vec![b'x'; length]),
            ],
            0..40,
        ),
        cuts in proptest::collection::vec(0..40_000_usize, 0..6),
    ) {
        let bytes = parts.concat();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([bytes.len()]).collect();
        cuts.sort_unstable();
        let (mut framer, mut slow) = (LineFramer::new(LINE_LIMIT), LineFramer::new(LINE_LIMIT));
        let mut from = 0;
        for cut in cuts {
            let (mut lines, mut expected) = (Lines::new(OutputStream::Stdout), Lines::new(OutputStream::Stdout));
            frame(&mut framer, &bytes[from..cut], &mut lines);
            slow.feed(&bytes[from..cut], |line| expected.push(&line, true));
            prop_assert_eq!(lines.batch.bytes(), expected.batch.bytes());
            prop_assert_eq!((lines.batch.len(), &lines.batch.cut), (expected.batch.len(), &expected.batch.cut));
            prop_assert_eq!(&lines.progress, &expected.progress);
            prop_assert_eq!(framer.unfinished(), slow.unfinished());
            from = cut;
        }
    }
}
