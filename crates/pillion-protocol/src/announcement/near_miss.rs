//! Lines that were probably meant as an announcement, and what is wrong with them.

use std::fmt;

use memchr::{memchr2_iter, memmem};

use super::{Announcement, PREFIX, SOCKET_PREFIX, exact};
use crate::{framing::Line, progress};

/// The two prefixes without their colon.
const TAGS: [&str; 2] =
    [PREFIX.split_at(PREFIX.len() - 1).0, SOCKET_PREFIX.split_at(SOCKET_PREFIX.len() - 1).0];
/// The first word of both tags, and where its letter K is.
const WORD: &[u8] = b"BACKEND";
const K: usize = 3;
/// `BACKEND_` in UTF-16. The pattern fits both byte orders, because it begins and ends within the characters.
const UTF_16: &[u8] = b"B\0A\0C\0K\0E\0N\0D\0_";
/// How many bytes of a line its text shows, and how many of them before the tag.
const TEXT: usize = 80;
const BEFORE_TAG: usize = 40;

/// A line that contains `BACKEND_PORT` or `BACKEND_SOCKET`, but is not an announcement. Its text completes the sentence
/// "it printed …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    reason: Reason,
    /// The line as text, at most 80 bytes of it.
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Stderr,
    TextBefore,
    Overwritten,
    Separator,
    Case,
    Escapes,
    Utf16,
}

impl NearMiss {
    /// Reads a line of stdout. Returns `None` for an announcement, also a malformed one, for a line of
    /// [progress](crate::progress), and for an ordinary line.
    #[must_use]
    pub fn on_stdout(line: &Line<'_>) -> Option<Self> {
        if progress::read(line).is_some() {
            return None;
        }
        let (bytes, utf16) = (line.bytes(), memmem::find(line.bytes(), UTF_16).is_some());
        if utf16 {
            let text: Vec<_> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
            return Some(Self { reason: Reason::Utf16, text: text_at(&text, 0) });
        }
        let Some(at) = find_tag(bytes) else {
            let lower = TAGS.iter().find_map(|tag| memmem::find(bytes, tag.to_ascii_lowercase().as_bytes()));
            return Some(Self { reason: Reason::Case, text: text_at(bytes, lower?) });
        };
        if Announcement::read(line).is_some() {
            return None;
        }
        let visible = exact(line.visible().unwrap_or_default());
        let reason = match find_tag(visible) {
            None => Reason::Overwritten,
            _ if without_escapes(visible).is_some_and(|plain| find_tag(&plain) == Some(0)) => Reason::Escapes,
            Some(0) => Reason::Separator,
            Some(_) => Reason::TextBefore,
        };
        Some(Self { reason, text: text_at(bytes, at) })
    }

    /// Reads a line of stderr, where no announcement counts. Returns `None` for an ordinary line.
    #[must_use]
    pub fn on_stderr(line: &Line<'_>) -> Option<Self> {
        if Announcement::read(line).is_none() {
            return Self::on_stdout(line);
        }
        Some(Self { reason: Reason::Stderr, text: text_at(line.bytes(), find_tag(line.bytes())?) })
    }
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, text } = self;
        let why = match reason {
            Reason::Stderr => "on stderr; an announcement counts only on stdout",
            Reason::TextBefore => {
                "with text before the announcement; write the announcement on a line of its own"
            }
            Reason::Overwritten => {
                "and overwrote it after a carriage return; end the announcement with a newline"
            }
            Reason::Separator => "without the colon; write BACKEND_PORT:{port}",
            Reason::Case => "in lower case; write BACKEND_PORT:{port} in upper case",
            Reason::Escapes => "with terminal escape sequences in it; write the announcement without colours",
            Reason::Utf16 => "in UTF-16; write the announcement in ASCII or UTF-8",
        };
        write!(f, "{text:?} {why}")
    }
}

/// Whether a part of these bytes can be an announcement, a [`NearMiss`] or a line of [progress](crate::progress), because it has the word
/// `backend` in any case, in ASCII or in UTF-16. Much quicker than to read each line, which is needless where this is false.
///
/// A word that begins before these bytes, or ends after them, is not found.
#[must_use]
pub fn may_announce(bytes: &[u8]) -> bool {
    // K is the letter that is the least frequent in other text.
    memchr2_iter(b'K', b'k', bytes).any(|at| {
        [1, 2].into_iter().any(|width| {
            let start = at.checked_sub(K * width);
            start.and_then(|start| bytes.get(start..=at + (WORD.len() - 1 - K) * width)).is_some_and(|word| {
                word.iter().step_by(width).zip(WORD).all(|(byte, letter)| byte.eq_ignore_ascii_case(letter))
            })
        })
    })
}

fn find_tag(bytes: &[u8]) -> Option<usize> {
    TAGS.iter().find_map(|tag| memmem::find(bytes, tag.as_bytes()))
}

/// The text around the tag, which starts at byte `at`.
fn text_at(bytes: &[u8], at: usize) -> String {
    let from = if at <= BEFORE_TAG { 0 } else { at - BEFORE_TAG / 2 };
    let text = String::from_utf8_lossy(&bytes[from..bytes.len().min(from + TEXT)]);
    if from == 0 { text.into_owned() } else { format!("…{text}") }
}

/// The bytes without escape sequences (ECMA-48: `ESC [`, parameters, a final byte from `@` to `~`). `None` if there are none.
pub(crate) fn without_escapes(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut parts = bytes.split(|byte| *byte == 0x1b);
    let mut plain = parts.next()?.to_vec();
    let mut escapes = 0;
    for part in parts {
        escapes += 1;
        let sequence = part.strip_prefix(b"[").unwrap_or(part);
        let end =
            sequence.iter().position(|byte| (b'@'..=b'~').contains(byte)).map_or(sequence.len(), |at| at + 1);
        plain.extend_from_slice(&sequence[end..]);
    }
    (escapes > 0).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::LineFramer;
    use proptest::prelude::*;

    fn read(stream: &[u8], read: impl Fn(&Line<'_>) -> Option<NearMiss>) -> Option<Reason> {
        let (mut framer, mut found) = (LineFramer::new(1024), None);
        framer.feed(stream, |line| found = found.take().or(read(&line)));
        found.map(|near| near.reason)
    }

    #[test]
    fn each_near_miss_on_stdout_has_its_reason() {
        for (line, reason) in [
            (b"INFO: BACKEND_PORT:4242\n".as_slice(), Reason::TextBefore),
            (b" BACKEND_PORT:4242\n", Reason::TextBefore),
            (br#"{"level":"info","msg":"BACKEND_PORT:4242"}"#.as_slice(), Reason::TextBefore),
            (b"\x1b[32mINFO\x1b[0m BACKEND_PORT:4242\n", Reason::TextBefore),
            (b"BACKEND_PORT:4242\rready\n", Reason::Overwritten),
            (b"BACKEND_PORT=4242\n", Reason::Separator),
            (b"BACKEND_PORT 4242\n", Reason::Separator),
            (b"BACKEND_SOCKET=3\n", Reason::Separator),
            (b"backend_port:4242\n", Reason::Case),
            (b"BACKEND_PORT\x1b[0m:4242\n", Reason::Escapes),
            (b"\x1b[2KBACKEND_PORT:4242\n", Reason::Escapes),
            (b"\xff\xfeB\0A\0C\0K\0E\0N\0D\0_\0P\0O\0R\0T\0:\x004\0\n\0", Reason::Utf16),
            (b"\xfe\xff\0B\0A\0C\0K\0E\0N\0D\0_\0P\0O\0R\0T\0:\x004\0\n", Reason::Utf16),
        ] {
            let line = [line, b"\n"].concat();
            assert_eq!(read(&line, NearMiss::on_stdout), Some(reason), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn an_announcement_on_stderr_is_a_near_miss() {
        assert_eq!(read(b"BACKEND_PORT:4242\n", NearMiss::on_stderr), Some(Reason::Stderr));
        assert_eq!(read(b"BACKEND_PORT:0\n", NearMiss::on_stderr), Some(Reason::Stderr));
        assert_eq!(read(b"listening: BACKEND_PORT=1\n", NearMiss::on_stderr), Some(Reason::TextBefore));
    }

    #[test]
    fn announcements_and_ordinary_lines_are_not_near_misses() {
        for line in [
            "BACKEND_PORT:4242",
            "BACKEND_PORT:0",
            "BACKEND_PORT:",
            "BACKEND_SOCKET:x",
            "",
            "listening on port 4242",
        ] {
            assert_eq!(read(format!("{line}\n").as_bytes(), NearMiss::on_stdout), None, "{line}");
        }
    }

    #[test]
    fn the_sentence_shows_the_line_around_the_tag() {
        let mut found = None;
        let line = format!("{} BACKEND_PORT:4242 {}\n", "x".repeat(200), "y".repeat(200));
        LineFramer::new(1024).feed(line.as_bytes(), |line| found = NearMiss::on_stdout(&line));
        let sentence = found.unwrap().to_string();
        assert!(sentence.starts_with("\"…xxxx") && sentence.contains("BACKEND_PORT:4242 yy"), "{sentence}");
        assert!(sentence.ends_with("write the announcement on a line of its own"), "{sentence}");
        assert!(sentence.len() < 250, "{sentence}");
    }

    proptest! {
        /// What [`may_announce`] excludes, no reader of lines finds.
        #[test]
        fn no_announcement_is_excluded(parts in prop::collection::vec(
            prop::sample::select(vec![
                "BACKEND_PORT", "BACKEND_SOCKET", "BACKEND_STATUS", "backend_port", "backend_socket", "BACKEND", "K", "k", ":", "80", "\r", " ",
                "\u{feff}", "\x1b[32m", "B\0A\0C\0K\0E\0N\0D\0_\0P\0O\0R\0T\0",
            ]),
            0..6,
        )) {
            let text = parts.concat();
            let mut framer = LineFramer::new(1024);
            framer.feed(format!("{text}\n").as_bytes(), |line| {
                let found = Announcement::read(&line).is_some()
                    || NearMiss::on_stdout(&line).is_some()
                    || NearMiss::on_stderr(&line).is_some()
                    || progress::read(&line).is_some();
                assert!(!found || may_announce(text.as_bytes()), "{text:?}");
            });
        }
    }

    #[test]
    fn ordinary_lines_are_excluded() {
        for line in ["", "k", "kkkkkkkkkkkkkkk", "GET /backup 200", "a task that took 3 s", "back end"] {
            assert!(!may_announce(line.as_bytes()), "{line}");
        }
    }
}
