//! Removes the control sequences by which a program colours its output.

use std::borrow::Cow;

const ESCAPE: char = '\x1b';

/// The text without control sequences of ECMA-48: `ESC [ … letter` (colours, movements), `ESC ] … BEL` (titles, links), and other
/// sequences that begin with ESC. Borrows the text if it has none.
pub(super) fn strip(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(ESCAPE) else { return Cow::Borrowed(text) };
    let mut plain = text[..first].to_owned();
    let mut rest = &text[first..];
    while let Some(sequence) = rest.strip_prefix(ESCAPE) {
        rest = after_sequence(sequence);
        let next = rest.find(ESCAPE).unwrap_or(rest.len());
        plain.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    Cow::Owned(plain)
}

/// What follows the sequence whose ESC is already consumed.
fn after_sequence(sequence: &str) -> &str {
    let after = |length: usize| &sequence[length..];
    match sequence.as_bytes().first() {
        // A control sequence: parameters and intermediates, then one final byte.
        Some(b'[') => {
            let length = sequence.bytes().skip(1).take_while(|byte| (0x20..=0x3f).contains(byte)).count() + 1;
            match sequence.as_bytes().get(length) {
                Some(0x40..=0x7e) => after(length + 1),
                _ => after(length),
            }
        }
        // A control string, up to BEL or ESC \.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let bell = sequence.find('\x07').map(|at| at + 1);
            let terminator = sequence.find("\x1b\\").map(|at| at + 2);
            after(bell.into_iter().chain(terminator).min().unwrap_or(sequence.len()))
        }
        // Other sequences: intermediates, then one final byte.
        Some(0x20..=0x7e) => {
            let length = sequence.bytes().take_while(|byte| (0x20..=0x2f).contains(byte)).count();
            match sequence.as_bytes().get(length) {
                Some(0x30..=0x7e) => after(length + 1),
                _ => after(length),
            }
        }
        _ => sequence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn control_sequences_are_removed() {
        for (text, plain) in [
            ("plain", "plain"),
            ("\x1b[1;31mred\x1b[0m and \x1b[38;5;12mblue\x1b[m", "red and blue"),
            ("\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1b]0;title\x07text", "text"),
            ("\x1b(Btext\x1b=", "text"),
            ("\x1b[2K\x1b[1Gcafé", "café"),
            ("cut \x1b[31", "cut "),
            ("cut \x1b", "cut "),
            ("\x1bé", "é"),
            ("\x1b[é", "é"),
            ("\x1b\x1b[0mx", "x"),
        ] {
            assert_eq!(strip(text), plain, "{}", text.escape_debug());
        }
        assert!(matches!(strip("plain"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn no_escape_is_left(text in "[\\x1b\\[\\]a-m0-9;é\\\\\\x07( ]{0,40}") {
            prop_assert!(!strip(&text).contains(ESCAPE), "{:?}", text);
        }
    }
}
