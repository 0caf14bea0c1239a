//! The level of a line of output.

/// How severe a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `TRACE`.
    Trace,
    /// `DEBUG`.
    Debug,
    /// `INFO`, and `NOTICE`.
    Info,
    /// `WARN` and `WARNING`.
    Warn,
    /// `ERROR`, and all that is worse.
    Error,
}

impl Level {
    /// The word in a log file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// In how many bytes of a JSON object the level is searched.
const JSON_HEAD: usize = 1024;
/// In how many bytes of a text line the level is searched.
const TEXT_HEAD: usize = 128;
/// Among how many words of a text line a level in capital letters is searched: a date, a time, a name and dashes come before it, as in
/// `2026-01-01 00:00:00,123 - app - INFO - text`.
const LEADING_WORDS: usize = 6;

/// The level of a line, if its text says one.
///
/// | form | example |
/// | --- | --- |
/// | JSON with `level`, `levelname`, `severity` or `lvl`, a name or a number of pino | `{"level":30,"msg":"up"}`, `{"timestamp":"…","level":"INFO"}` |
/// | logfmt | `time=… level=info msg=up`, `lvl=warn` |
/// | a name in capital letters among the first words | `2026-01-01T00:00:00Z  INFO app: up`, `WARNING:root:text` |
/// | a name in brackets | `[warn] text`, `<error> text` |
/// | a name with a colon at the beginning | `error: text`, `info: Microsoft.Hosting[14]` |
/// | klog | `E1129 04:21:22.123456 1 main.go:1] text` |
///
/// Colours (`ESC [ … m`) do not matter.
#[must_use]
pub fn recognise(line: &[u8]) -> Option<Level> {
    let start = line.iter().take(TEXT_HEAD).position(|byte| !byte.is_ascii_whitespace())?;
    let line = &line[start..];
    if line[0] == b'{' {
        return in_json(&line[..line.len().min(JSON_HEAD)]);
    }
    let head = &line[..line.len().min(TEXT_HEAD)];
    // Most lines of a flood end here. The loop has no branch, so that the compiler makes it one of vectors.
    let candidate = head.iter().fold(false, |found, byte| {
        found
            | byte.is_ascii_uppercase()
            | (*byte == b':')
            | (*byte == b'=')
            | (*byte == b'[')
            | (*byte == b'<')
    });
    if candidate { in_klog(head).or_else(|| in_text(head)) } else { None }
}

fn in_json(object: &[u8]) -> Option<Level> {
    let mut rest = object;
    while let Some(quote) = rest.iter().position(|byte| *byte == b'"') {
        rest = &rest[quote + 1..];
        let Some(after) = [b"level\"".as_slice(), b"levelname\"", b"severity\"", b"lvl\""]
            .iter()
            .find_map(|key| rest.strip_prefix(*key))
        else {
            continue;
        };
        let Some(value) = after.trim_ascii_start().strip_prefix(b":") else { continue };
        let value = value.trim_ascii_start();
        if let Some(text) = value.strip_prefix(b"\"") {
            return named(&text[..text.iter().position(|byte| *byte == b'"')?]);
        }
        let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // https://github.com/pinojs/pino/blob/main/docs/api.md#loggerlevel-string-gettersetter
        return match str::from_utf8(&value[..digits]).ok()?.parse().ok()? {
            10..20 => Some(Level::Trace),
            20..30 => Some(Level::Debug),
            30..40 => Some(Level::Info),
            40..50 => Some(Level::Warn),
            50..=60 => Some(Level::Error),
            0_u32..=9 | 61.. => None,
        };
    }
    None
}

/// `E1129 04:21:22.123456`: the first letter of the level, and the month and the day.
fn in_klog(head: &[u8]) -> Option<Level> {
    let date = head.get(1..5)?.iter().all(u8::is_ascii_digit) && head.get(5) == Some(&b' ');
    match head[0] {
        b'I' if date => Some(Level::Info),
        b'W' if date => Some(Level::Warn),
        b'E' | b'F' if date => Some(Level::Error),
        _ => None,
    }
}

fn in_text(head: &[u8]) -> Option<Level> {
    let mut at = 0;
    let mut words = 0;
    // The byte before the present one that a terminal shows.
    let mut before = b' ';
    let mut key: &[u8] = b"";
    while at < head.len() {
        let byte = head[at];
        if byte == 0x1b {
            at += escape_length(&head[at..]);
            // A colour ends a word.
            before = b' ';
            continue;
        }
        if !byte.is_ascii_alphabetic() {
            if byte.is_ascii_whitespace() && !before.is_ascii_whitespace() {
                words += 1;
            }
            if byte != b'=' && byte != b'"' {
                key = b"";
            }
            before = byte;
            at += 1;
            continue;
        }
        let length = head[at..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let word = &head[at..at + length];
        let after = head.get(at + length).copied().unwrap_or(b' ');
        let joins = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-');
        let is_separate = !joins(before) && !joins(after);
        if is_separate && let Some(level) = named(word) {
            let is_value = matches!(before, b'=' | b'"') && is_key(key);
            let is_bracketed = matches!((before, after), (b'[', b']') | (b'<', b'>'));
            let is_upper =
                word.iter().all(u8::is_ascii_uppercase) && words < LEADING_WORDS && before != b'\'';
            let is_first = after == b':' && words < 3 && (before.is_ascii_whitespace() || words == 0);
            if is_value || is_bracketed || is_upper || is_first {
                return Some(level);
            }
        }
        key = word;
        before = head[at + length - 1];
        at += length;
    }
    None
}

fn is_key(key: &[u8]) -> bool {
    [b"level".as_slice(), b"lvl", b"severity", b"levelname"].iter().any(|it| it.eq_ignore_ascii_case(key))
}

/// The length of a control sequence (`ESC [ … letter`, ECMA-48), or of the escape alone.
fn escape_length(bytes: &[u8]) -> usize {
    if bytes.get(1) != Some(&b'[') {
        return 1;
    }
    bytes.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte)).map_or(bytes.len(), |end| end + 3)
}

fn named(word: &[u8]) -> Option<Level> {
    const NAMES: [(&[u8], Level); 21] = [
        (b"info", Level::Info),
        (b"warn", Level::Warn),
        (b"warning", Level::Warn),
        (b"error", Level::Error),
        (b"debug", Level::Debug),
        (b"trace", Level::Trace),
        (b"err", Level::Error),
        (b"fatal", Level::Error),
        (b"critical", Level::Error),
        (b"crit", Level::Error),
        (b"panic", Level::Error),
        (b"fail", Level::Error),
        (b"severe", Level::Error),
        (b"alert", Level::Error),
        (b"emerg", Level::Error),
        (b"notice", Level::Info),
        (b"information", Level::Info),
        (b"dbug", Level::Debug),
        (b"verbose", Level::Debug),
        (b"trce", Level::Trace),
        (b"emergency", Level::Error),
    ];
    if !(3..=11).contains(&word.len()) {
        return None;
    }
    NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_common_loggers_are_recognised() {
        use Level::{Debug, Error, Info, Trace, Warn};
        for (line, expected) in [
            // tracing-subscriber: JSON, full, and with colours.
            (r#"{"timestamp":"2026-01-01T00:00:00Z","level":"INFO","fields":{"message":"up"}}"#, Some(Info)),
            ("2026-01-01T00:00:00.000000Z  WARN backend::db: slow", Some(Warn)),
            (
                "\x1b[2m2026-01-01T00:00:00Z\x1b[0m \x1b[31mERROR\x1b[0m \x1b[2mbackend\x1b[0m: no",
                Some(Error),
            ),
            // env_logger.
            ("[2026-01-01T00:00:00Z DEBUG backend] text", Some(Debug)),
            // pino and bunyan.
            (r#"{"level":10,"time":1}"#, Some(Trace)),
            (r#"{"level":30,"time":1531171074631,"msg":"hello"}"#, Some(Info)),
            (r#"{"time": 1, "level" : 60}"#, Some(Error)),
            (r#"{"level":7}"#, None),
            (r#"{"msg":"a \"level\":\"error\" in a text"}"#, None),
            (r#"{"asctime": "x", "levelname": "WARNING", "message": "y"}"#, Some(Warn)),
            (r#"{"severity":"critical"}"#, Some(Error)),
            // Python logging: basicConfig, and the usual format; uvicorn.
            ("WARNING:root:text", Some(Warn)),
            ("2026-01-01 00:00:00,123 - app.db - INFO - connected", Some(Info)),
            ("2026-01-01 00:00:00,123 CRITICAL no memory", Some(Error)),
            ("INFO:     Uvicorn running on http://127.0.0.1:8000", Some(Info)),
            // logfmt, slog.
            ("time=2026-01-01T00:00:00Z level=INFO msg=up", Some(Info)),
            ("ts=1 lvl=warn msg=x", Some(Warn)),
            (r#"time=1 level="error" msg="x""#, Some(Error)),
            // klog.
            ("E1129 04:21:22.123456       1 main.go:1] cannot open", Some(Error)),
            ("I1129 04:21:22.123456       1 main.go:1] up", Some(Info)),
            // nginx, .NET, plain.
            ("2026/01/01 00:00:00 [error] 1#1: open() failed", Some(Error)),
            ("info: Microsoft.Hosting.Lifetime[14]", Some(Info)),
            ("fail: Microsoft.AspNetCore", Some(Error)),
            ("ERROR foo", Some(Error)),
            ("  [warn] foo", Some(Warn)),
            ("[Info] foo", Some(Info)),
            ("error: cannot open database", Some(Error)),
            ("Warning: deprecated", Some(Warn)),
            ("DEBUG", Some(Debug)),
            // Texts that only contain such a word.
            ("an error occurred", None),
            ("0 errors, 0 warnings", None),
            ("GET /error 200", None),
            ("see ERROR_LOG and /INFO/x", None),
            ("the words one two three four five six ERROR", None),
            ("could not read: error", None),
            ("a=b c=info", None),
            ("BACKEND_PORT:4711", None),
            ("", None),
            ("   ", None),
            ("xxxxxxxxxxxxxxxxxxxxxx", None),
        ] {
            assert_eq!(recognise(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn any_bytes_are_read() {
        for line in [b"\x1b[".as_slice(), b"\x1b", b"{\"level\":\"", b"{\"level\"", b"\xff\xfe: [", b"I112"] {
            assert_eq!(recognise(line), None, "{}", line.escape_ascii());
        }
    }
}
