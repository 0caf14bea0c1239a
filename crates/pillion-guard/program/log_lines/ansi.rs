//! Removes the control sequences by which a program colours its output, or all except those.

use std::borrow::Cow;

const ESCAPE: char = '\x1b';

/// The text without control sequences of ECMA-48: `ESC [ … letter` (colours, movements), `ESC ] … BEL` (titles, links), and other
/// sequences that begin with ESC. Borrows the text if it has none.
#[must_use]
pub fn strip(text: &str) -> Cow<'_, str> {
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

/// The text for a terminal that shows colours, without anything else that controls it: of the control sequences, those that set colours
/// and other properties of letters stay (SGR, `ESC [ numbers m`). Titles, links, movements, and all control characters except the
/// tabulator are removed. A text with colours ends with their end, so that they do not reach what follows. Borrows the text if it has no
/// control characters.
#[must_use]
pub fn keep_colors(text: &str) -> Cow<'_, str> {
    let controls = |letter: char| letter.is_control() && letter != '\t';
    let Some(first) = text.find(controls) else { return Cow::Borrowed(text) };
    let mut kept = text[..first].to_owned();
    let mut rest = &text[first..];
    let mut colored = false;
    while let Some(control) = rest.chars().next() {
        let (sequence, after) = match rest.strip_prefix(ESCAPE) {
            Some(sequence) => (sequence, after_sequence(sequence)),
            None => ("", &rest[control.len_utf8()..]),
        };
        let sequence = &sequence[..sequence.len() - after.len().min(sequence.len())];
        if is_color(sequence) {
            colored = true;
            kept.push(ESCAPE);
            kept.push_str(sequence);
        }
        let next = after.find(controls).unwrap_or(after.len());
        kept.push_str(&after[..next]);
        rest = &after[next..];
    }
    if colored {
        kept.push_str("\x1b[0m");
    }
    Cow::Owned(kept)
}

/// The text without control sequences and control characters, except the tabulator, for a file.
#[must_use]
pub fn plain(text: &str) -> String {
    let controls = |letter: char| letter.is_control() && letter != '\t';
    strip(text).chars().filter(|letter| !controls(*letter)).collect()
}

/// Whether the sequence, without its ESC, is SGR. Parameters that begin with `<`, `=`, `>` or `?` make another sequence of it.
fn is_color(sequence: &str) -> bool {
    let parameters = sequence.strip_prefix('[').and_then(|rest| rest.strip_suffix('m'));
    let allowed = |byte: u8| byte.is_ascii_digit() || matches!(byte, b';' | b':');
    parameters.is_some_and(|parameters| parameters.bytes().all(allowed))
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

    #[test]
    fn colors_are_all_that_a_terminal_gets() {
        for (text, kept) in [
            ("tab\tand é", "tab\tand é"),
            ("\x1b[1;31mred\x1b[m", "\x1b[1;31mred\x1b[m\x1b[0m"),
            ("\x1b[38:2::1:2:3mx", "\x1b[38:2::1:2:3mx\x1b[0m"),
            ("\x1b[>4;1m\x1b[?25l\x1b[ mx", "x"),
            ("\x1b[2J\x1b[H\x1b[3Aclear", "clear"),
            ("\x1b]0;title\x07text", "text"),
            ("\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1b]52;c;cm0gLXJm\x1b\\x", "x"),
            ("\x1bPq#0\x1b\\sixel", "sixel"),
            ("\x1bcreset", "reset"),
            ("\u{9b}2Jbell\x07\x08\x0e\x7f\r", "2Jbell"),
            ("cut \x1b[31", "cut "),
            ("cut \x1b", "cut "),
        ] {
            assert_eq!(keep_colors(text), kept, "{}", text.escape_debug());
        }
        assert!(matches!(keep_colors("plain\t"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_but_colors_is_kept(text in "[\\x1b\\[\\]a-m0-9;>?é\\\\\\x07\u{9b}( ]{0,40}") {
            let kept = keep_colors(&text);
            let plain = strip(&kept);
            prop_assert!(!plain.contains(|letter: char| letter.is_control()), "{:?}", kept);
            let parts = kept.split(ESCAPE).skip(1);
            for part in parts {
                let end = part.find('m').map(|end| end + 1);
                prop_assert!(end.is_some_and(|end| is_color(&part[..end])), "{:?}", kept);
            }
        }

        #[test]
        fn no_escape_is_left(text in "[\\x1b\\[\\]a-m0-9;é\\\\\\x07( ]{0,40}") {
            prop_assert!(!strip(&text).contains(ESCAPE), "{:?}", text);
        }
    }
}
