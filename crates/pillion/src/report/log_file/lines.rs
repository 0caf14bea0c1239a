//! The lines of a log file: `TIME RUN STREAM LEVEL TEXT`, each part without a space except the last.

use std::io::Write as _;

use pillion_guard::log_lines::{ansi, head};
use pillion_protocol::Token;

use crate::{
    output::{OutputBatch, OutputLine},
    report::{
        hide_tokens::{has_token, hide_tokens},
        level::Level,
    },
    status::OutputStream,
};

/// Makes the lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The tokens of the runs that go on, and of those whose output may still be in the queue.
    tokens: Vec<Token>,
}

impl Lines {
    /// From now on, this token is replaced.
    pub(super) fn hide(&mut self, token: Token) {
        self.tokens.push(token);
    }

    /// The run with this token has ended, and all its lines have come.
    pub(super) fn forget(&mut self, token: &Token) {
        self.tokens.retain(|other| other != token);
    }

    /// What the lines of a batch have in common.
    pub(super) fn form(&self, at: u64, run: u64, batch: &OutputBatch) -> Form {
        let stream = match batch.stream {
            OutputStream::Stdout => "stdout",
            OutputStream::Stderr => "stderr",
        };
        let bytes = batch.bytes();
        // To look at all lines at once is much cheaper than to look at each.
        let plain = is_plain(bytes)
            && str::from_utf8(bytes).is_ok()
            && !self.tokens.iter().any(|token| has_token(bytes, token));
        Form { heads: Heads::new(&head(at, run, stream)), plain }
    }

    /// Appends a line that a sidecar wrote.
    pub(super) fn output(&self, form: &Form, line: &OutputLine<'_>, to: &mut Vec<u8>) {
        if form.plain && line.dropped == 0 {
            to.extend_from_slice(form.heads.of(Level::of_bytes(line.bytes)));
            to.extend_from_slice(line.bytes);
        } else {
            let text = self.text(line);
            to.extend_from_slice(form.heads.of(Level::of(&text)));
            to.extend_from_slice(text.as_bytes());
        }
        to.push(b'\n');
    }

    /// Appends a line of the supervisor itself.
    pub(super) fn note(&self, at: u64, run: u64, level: Level, text: &str, to: &mut Vec<u8>) {
        // Most sentences quote what the sidecar wrote.
        let text = hide_tokens(ansi::plain(text), &self.tokens);
        let _ = writeln!(to, "{}{} {text}", head(at, run, "pillion"), word(Some(level)));
    }

    /// The line as it is written.
    fn text(&self, line: &OutputLine<'_>) -> String {
        // A token can be hidden by what is removed, and be whole afterwards. A control sequence that is cut takes what follows it with it.
        hide_tokens(ansi::plain(&line.kept_text()), &self.tokens) + &line.cut_note()
    }
}

/// Whether the bytes have no control character except newlines and tabulators, and no byte with which those beyond ASCII begin (U+0080
/// to U+009F). The loop has no branch, so that the compiler makes it one of vectors.
fn is_plain(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |found, byte| {
        found | ((*byte < 0x20) & (*byte != b'\n') & (*byte != b'\t')) | (*byte == 0x7f) | (*byte == 0xc2)
    })
}

/// What the lines of a batch have in common.
pub(super) struct Form {
    heads: Heads,
    /// Whether nothing of them has to be removed or replaced.
    plain: bool,
}

/// What stands before the text of a line, for each level: a flood has millions of lines a second.
struct Heads([String; 6]);

impl Heads {
    fn new(head: &str) -> Self {
        let levels = [
            None,
            Some(Level::Trace),
            Some(Level::Debug),
            Some(Level::Info),
            Some(Level::Warn),
            Some(Level::Error),
        ];
        Self(levels.map(|level| format!("{head}{} ", word(level))))
    }

    fn of(&self, level: Option<Level>) -> &[u8] {
        let Self([none, trace, debug, info, warn, error]) = self;
        let head = match level {
            None => none,
            Some(Level::Trace) => trace,
            Some(Level::Debug) => debug,
            Some(Level::Info) => info,
            Some(Level::Warn) => warn,
            Some(Level::Error) => error,
        };
        head.as_bytes()
    }
}

fn word(level: Option<Level>) -> &'static str {
    level.map_or("-", Level::word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::tests::batch;

    /// The texts of the lines that this output makes.
    fn texts(lines: &Lines, output: &[u8]) -> Vec<String> {
        let mut to = Vec::new();
        let batch = batch(OutputStream::Stdout, output);
        let form = lines.form(1_764_417_600_123, 3, &batch);
        batch.lines().for_each(|line| lines.output(&form, &line, &mut to));
        let text = String::from_utf8(to).unwrap();
        let lines = text.lines();
        let prefix = "2025-11-29T12:00:00.123Z 3 stdout ";
        lines.map(|line| line.strip_prefix(prefix).unwrap_or_else(|| panic!("{line}")).to_owned()).collect()
    }

    fn token() -> Token {
        Token::from_bytes(&[0xa5; 32])
    }

    #[test]
    fn a_line_has_its_time_run_stream_and_level() {
        let output: &[u8] = b"plain\n\x1b[31mERROR\x1b[0m red\n\xffcaf\xc3\xa9\x1b]0;title\x07\n\nold\rnew\n";
        assert_eq!(
            texts(&Lines::default(), output),
            ["- plain", "error ERROR red", "- \u{fffd}café", "- ", "- new"]
        );
    }

    #[test]
    fn the_token_is_never_written() {
        let mut lines = Lines::default();
        lines.hide(token());
        let token = token();
        let digits = token.reveal().as_bytes();
        let (first, rest) = digits.split_at(20);
        let colored = [first, b"\x1b[1m", rest, b"\n"].concat();
        let long = [b"x".repeat(crate::LINE_LIMIT - 30).as_slice(), digits, digits, b"\n"].concat();
        let output = [b"token ", digits, b" end\n", &colored, &long].concat();
        let texts = texts(&lines, &output);
        assert_eq!(texts[..2], ["- token [token] end", "- [token]"]);
        assert!(texts[2].ends_with("x[token] … (98 bytes more)"), "{}", &texts[2][crate::LINE_LIMIT - 60..]);
        let mut to = Vec::new();
        lines.note(0, 1, Level::Warn, &format!("it printed {:?}\n", token.reveal()), &mut to);
        assert_eq!(
            String::from_utf8(to).unwrap(),
            "1970-01-01T00:00:00.000Z 1 pillion warn it printed \"[token]\"\n"
        );
    }

    #[test]
    fn a_token_that_is_cut_with_its_line_or_quoted_is_not_written() {
        let mut lines = Lines::default();
        let token = token();
        lines.hide(token.clone());
        let digits = token.reveal().as_bytes();
        // The line is cut after 61 digits, or within a control sequence after them.
        for (before, after) in [(61, ""), (40, "\x1b[1;31m"), (40, "\x1b]0;a title without an end")] {
            let (kept, rest) = digits.split_at(before);
            let sequence = &after.as_bytes()[..after.len() / 2];
            let room = crate::LINE_LIMIT - before - sequence.len();
            let line = [&b"x".repeat(room), kept, after.as_bytes(), rest, b"\n"].concat();
            let text = texts(&lines, &line).remove(0);
            let note = format!("x[token] … ({} bytes more)", line.len() - 1 - crate::LINE_LIMIT);
            assert!(text.ends_with(&note), "{}", &text[text.len() - 150..]);
        }
        let quoted = format!("it printed {:?}", format!("BACKEND_PORT:38211 {}", &token.reveal()[..61]));
        let mut to = Vec::new();
        lines.note(0, 1, Level::Warn, &quoted, &mut to);
        assert!(to.ends_with(b"it printed \"BACKEND_PORT:38211 [token]\"\n"));
    }

    #[test]
    fn the_tokens_of_all_runs_that_go_on_are_known() {
        let mut lines = Lines::default();
        let tokens: Vec<_> = (0..5).map(|run| Token::from_bytes(&[0x10 + run; 32])).collect();
        tokens.iter().for_each(|token| lines.hide(token.clone()));
        for token in &tokens {
            let line = format!("{}\n", token.reveal());
            assert_eq!(texts(&lines, line.as_bytes()), ["- [token]"]);
        }
        lines.forget(&tokens[1]);
        assert_eq!(
            lines.tokens,
            [tokens[0].clone(), tokens[2].clone(), tokens[3].clone(), tokens[4].clone()]
        );
    }
}
