//! Progress: the line on stdout by which a sidecar says how far it is, such as `BACKEND_STATUS:loading model 42%`.
//!
//! | the sidecar's stdout | how the host reads it |
//! | --- | --- |
//! | `BACKEND_STATUS:loading model 42%\n`, `…\r\n`, split over any writes | `loading model 42%` |
//! | `BACKEND_STATUS:\n` | no words any more |
//! | `BACKEND_STATUS: \tone \x1b[1mtwo\n` | `one two`: escape sequences are dropped, and control characters and spaces become one space |
//! | more than [`LIMIT`] bytes of words | the first [`LIMIT`] bytes, cut between two characters |
//! | `55%\rBACKEND_STATUS:a\n`, a byte-order mark before the line, colours around it | `a`, as for an announcement |
//! | `BACKEND_STATUS:a` and then the end of the stream, ` BACKEND_STATUS:a`, `BACKEND_STATUS=a` | an ordinary line |
//!
//! `BACKEND_STATUS:` is to `STATUS=` of `sd_notify(3)` what the announcement is to `READY=1`.

use crate::{
    announcement::{exact, without_escapes},
    defaults::PROGRESS_LIMIT,
    framing::Line,
};

/// The prefix of a line of progress.
pub const PREFIX: &str = "BACKEND_STATUS:";
/// How many bytes of UTF-8 the words have at most.
pub const LIMIT: usize = PROGRESS_LIMIT;

/// The bytes after the prefix, if this line of stdout is one of progress. [`words`] makes words of them.
///
/// It does not allocate: of many such lines, a host needs the words of the last one only.
#[must_use]
pub fn read<'a>(line: &Line<'a>) -> Option<&'a [u8]> {
    if !line.is_terminated() {
        return None;
    }
    exact(line.visible()?).strip_prefix(PREFIX.as_bytes())
}

/// The words in these bytes, for people. Invalid UTF-8 becomes U+FFFD.
#[must_use]
pub fn words(bytes: &[u8]) -> String {
    let plain = without_escapes(bytes);
    clean(&String::from_utf8_lossy(plain.as_deref().unwrap_or(bytes)))
}

/// The line that says `words`, with its newline. Write it in one call, and flush. Control characters and spaces become one space, and
/// the words are cut after [`LIMIT`] bytes.
///
/// ```
/// use pillion_protocol::progress::progress_line;
///
/// assert_eq!(progress_line("loading model 42%"), "BACKEND_STATUS:loading model 42%\n");
/// ```
#[must_use]
pub fn progress_line(words: &str) -> String {
    format!("{PREFIX}{}\n", clean(words))
}

/// The words with one space for each run of spaces and control characters, without such a run at an end, and within the limit.
fn clean(text: &str) -> String {
    let mut clean = String::new();
    for word in
        text.split(|letter: char| letter == ' ' || letter.is_control()).filter(|word| !word.is_empty())
    {
        let space = usize::from(!clean.is_empty());
        let room = LIMIT.saturating_sub(clean.len() + space);
        let end = (0..=room.min(word.len())).rfind(|end| word.is_char_boundary(*end)).unwrap_or(0);
        if end > 0 {
            clean.extend((space > 0).then_some(' '));
            clean.push_str(&word[..end]);
        }
        if end < word.len() {
            break;
        }
    }
    clean
}

// The vectors of docs/protocol test the parser: tests/vectors.rs.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::LineFramer;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_progress_line_reads_back(text in any::<String>()) {
            let line = progress_line(&text);
            let mut found = Vec::new();
            LineFramer::new(1024).feed(line.as_bytes(), |line| found.extend(read(&line).map(words)));
            prop_assert_eq!(&found, &[clean(&text)]);
            prop_assert!(found[0].len() <= LIMIT && !found[0].contains(char::is_control));
        }
    }
}
