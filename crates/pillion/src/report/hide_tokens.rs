//! Replaces the tokens of runs in what goes to a file, a notice or `tracing`: a sidecar may print its own, and sentences quote it.

use std::{borrow::Cow, ops::Range};

use pillion_protocol::Token;

use super::ansi;

/// What stands for a token.
const REPLACED: &str = "[token]";
/// How many digits of a token in a row are replaced at least: a line or a quotation may be cut within a token. Fewer digits leave at
/// least 196 of its 256 bits unknown.
const LEAST: usize = 16;
/// How many bytes are looked at together. `LEAST` digits hold such a block, wherever they begin.
const BLOCK: usize = 8;

/// Replaces each part of the tokens that has 16 or more digits, and the colours that divide it.
pub(crate) fn hide_tokens<'a>(text: String, tokens: impl IntoIterator<Item = &'a Token>) -> String {
    tokens.into_iter().fold(text, |text, token| {
        let text = replace(text, token);
        match ansi::strip(&text) {
            Cow::Owned(plain) if has_token(plain.as_bytes(), token) => replace(plain, token),
            Cow::Owned(_) | Cow::Borrowed(_) => text,
        }
    })
}

/// Whether the text has a part of the token that would be replaced.
pub(super) fn has_token(text: &[u8], token: &Token) -> bool {
    find(text, token).is_some()
}

fn replace(text: String, token: &Token) -> String {
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
fn find(text: &[u8], token: &Token) -> Option<Range<usize>> {
    let digits = token.reveal().as_bytes();
    let (blocks, _) = text.as_chunks::<BLOCK>();
    let candidates = blocks.iter().enumerate().filter(|(_, block)| may_be_digits(**block));
    candidates.map(|(index, block)| around(text, index * BLOCK, *block, digits)).find(|it| it.len() >= LEAST)
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

    fn token() -> Token {
        let bytes: Vec<u8> = (0..32_u8).map(|byte| byte.wrapping_mul(37) ^ 0xa5).collect();
        Token::from_bytes(bytes.as_slice().try_into().unwrap())
    }

    fn hide(text: &str) -> String {
        hide_tokens(text.to_owned(), [&token()])
    }

    #[test]
    fn each_part_of_a_token_with_sixteen_digits_is_replaced_wherever_it_stands() {
        let token = token();
        for offset in 0..BLOCK {
            let before = "é ".repeat(offset) + &"x".repeat(offset);
            for start in 0..=Token::DIGITS - LEAST {
                for end in [start + LEAST, (start + LEAST + 1).min(Token::DIGITS), Token::DIGITS] {
                    let part = &token.reveal()[start..end];
                    assert_eq!(hide(&format!("{before}{part}")), format!("{before}[token]"));
                    assert_eq!(hide(&format!("{before}{part} end")), format!("{before}[token] end"));
                }
            }
        }
        assert_eq!(hide(&format!("{0}{0} {0}", token.reveal())), "[token][token] [token]");
    }

    #[test]
    fn a_token_with_repeated_digits_is_replaced_as_a_whole() {
        let token = Token::from_bytes(&[0xa5; 32]);
        for offset in 0..2 * BLOCK {
            let before = "-".repeat(offset);
            let text = hide_tokens(format!("{before}{}.", token.reveal()), [&token]);
            assert_eq!(text, format!("{before}[token]."));
        }
    }

    #[test]
    fn other_text_stays() {
        let token = token();
        let short = &token.reveal()[..LEAST - 1];
        let other = "0123456789abcdef".repeat(4);
        for text in ["", "a plain line", short, &other, "2026-11-29 0000000000000000 ffffffffffffffff"] {
            assert_eq!(hide(text), text);
        }
    }

    #[test]
    fn quotations_colors_and_lines_that_divide_a_token_do_not_show_it() {
        let token = token();
        let (first, rest) = token.reveal().split_at(30);
        for (divider, shown) in [
            ("\x1b[1m", "[token]\x1b[1m[token]"),
            ("\\u{1b}[1m", "[token]\\u{1b}[1m[token]"),
            ("\n", "[token]\n[token]"),
            ("\r", "[token]\r[token]"),
        ] {
            assert_eq!(hide(&format!("{first}{divider}{rest}")), shown);
        }
        let every_ten: Vec<_> =
            token.reveal().as_bytes().chunks(10).map(|part| str::from_utf8(part).unwrap()).collect();
        assert_eq!(hide(&every_ten.join("\x1b[1m")), "[token]");
    }

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
