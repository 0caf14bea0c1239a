//! Replaces the tokens of runs in what goes to a file, a notice or `tracing`: a sidecar may print its own, and sentences quote it.

use pillion_guard::log_lines::token;
use pillion_protocol::Token;

/// Replaces each part of the tokens that has 16 or more digits, and the colours that divide it.
pub(crate) fn hide_tokens<'a>(text: String, tokens: impl IntoIterator<Item = &'a Token>) -> String {
    token::hide_tokens(text, tokens.into_iter().map(digits))
}

/// Whether the text has a part of the token that would be replaced.
pub(super) fn has_token(text: &[u8], token: &Token) -> bool {
    token::has_token(text, digits(token))
}

fn digits(token: &Token) -> &[u8] {
    token.reveal().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: usize = 16;
    const BLOCK: usize = 8;

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
}
