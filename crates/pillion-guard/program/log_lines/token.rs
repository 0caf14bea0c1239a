//! Replaces the tokens of runs in what goes to a file, a notice or `tracing`: a sidecar may print its own, and sentences quote it.

use std::{borrow::Cow, ops::Range};

use super::ansi;

/// What stands for a token.
const REPLACED: &str = "[token]";
/// How many digits of a token in a row are replaced at least: a line or a quotation may be cut within a token. Fewer digits leave at
/// least 196 of its 256 bits unknown.
const MIN_DIGITS: usize = 16;
/// How many bytes are looked at together. `MIN_DIGITS` digits hold such a block, wherever they begin.
const BLOCK: usize = 8;

/// Replaces each part of the tokens, given by their digits, that has 16 or more digits, and the colours that divide it.
#[must_use]
pub fn hide_tokens<'a>(text: String, tokens: impl IntoIterator<Item = &'a [u8]>) -> String {
    tokens.into_iter().fold(text, |text, token| {
        let text = replace(text, token);
        match ansi::strip(&text) {
            Cow::Owned(plain) if has_token(plain.as_bytes(), token) => replace(plain, token),
            Cow::Owned(_) | Cow::Borrowed(_) => text,
        }
    })
}

/// Whether the text has a part of the token that would be replaced.
#[must_use]
pub fn has_token(text: &[u8], token: &[u8]) -> bool {
    find(text, token).is_some()
}

fn replace(text: String, token: &[u8]) -> String {
    let Some(mut found) = find(text.as_bytes(), token) else { return text };
    let (mut replaced, mut rest) = (String::new(), text.as_str());
    loop {
        replaced.push_str(&rest[..found.start]);
        replaced.push_str(REPLACED);
        rest = &rest[found.end..];
        match find(rest.as_bytes(), token) {
            Some(next) => found = next,
            None => return replaced + rest,
        }
    }
}

/// The first part of the text that is a part of the token, as long as it goes.
fn find(text: &[u8], digits: &[u8]) -> Option<Range<usize>> {
    let (blocks, _) = text.as_chunks::<BLOCK>();
    let candidates = blocks.iter().enumerate().filter(|(_, block)| may_be_digits(**block));
    candidates
        .map(|(index, block)| around(text, index * BLOCK, *block, digits))
        .find(|it| it.len() >= MIN_DIGITS)
}

/// The longest part of the digits that contains this block, which begins at `at` in the text; empty if the digits do not have the block.
fn around(text: &[u8], at: usize, block: [u8; BLOCK], digits: &[u8]) -> Range<usize> {
    let parts = digits.windows(BLOCK).enumerate().filter(|(_, window)| *window == block).map(|(start, _)| {
        let equal = |(left, right): &(&u8, &u8)| left == right;
        let (end, after) = (at + BLOCK, start + BLOCK);
        let before = text[..at].iter().rev().zip(digits[..start].iter().rev()).take_while(equal).count();
        let behind = text[end..].iter().zip(&digits[after..]).take_while(equal).count();
        at - before..end + behind
    });
    parts.max_by_key(ExactSizeIterator::len).unwrap_or(at..at)
}

/// Whether the block may consist of digits: false for nearly all other text. A flood of output goes through this, so that it has no branch
/// and looks at all bytes at once. A decimal digit is 0011xxxx, and a letter from a to f 01100xxx.
fn may_be_digits(block: [u8; BLOCK]) -> bool {
    const EACH: u64 = u64::from_ne_bytes([1; BLOCK]);
    let bits = u64::from_ne_bytes(block);
    let ascii_of_these_columns = bits & (0xa0 * EACH) == 0x20 * EACH;
    let either_digit_or_letter = (bits ^ (bits << 2)) & (0x40 * EACH) == 0x40 * EACH;
    let letter_beyond_g = bits & (bits << 3) & (0x40 * EACH);
    ascii_of_these_columns && either_digit_or_letter && letter_beyond_g == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_digits_and_few_other_bytes_may_be_digits() {
        for byte in 0..=u8::MAX {
            let expected =
                byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte) || b":;<=>?`g".contains(&byte);
            for place in 0..BLOCK {
                let mut block = *b"0a9f1b8e";
                block[place] = byte;
                assert_eq!(may_be_digits(block), expected, "{byte:#x} at {place}");
            }
        }
    }
}
