//! Replaces secrets by marks: known values, and what has the name of a secret.

use std::{env, ffi::OsStr, sync::LazyLock};

use pillion_protocol::Token;
use regex_lite::{Captures, Regex};
use serde_json::Value;

use crate::{
    Supervisor,
    spec::{Program, ServerSource},
};

/// A shorter value of a variable with the name of a secret occurs in other words by chance.
const SHORTEST_SECRET: usize = 4;
/// The same for another declared variable.
const SHORTEST_VALUE: usize = 6;
/// A line of a secret with several lines is looked for from this length on.
const SHORTEST_LINE: usize = 12;

/// What must not be told.
#[derive(Debug, Default)]
pub(super) struct Redaction {
    /// Values with their marks, longest first.
    known: Vec<(String, String)>,
}

impl Redaction {
    /// Knows the values of this program's variables whose names are those of secrets.
    pub(super) fn of_this_program() -> Self {
        let mut redaction = Self::default();
        for (name, value) in env::vars_os() {
            let name = name.to_string_lossy();
            if is_secret_name(&name) {
                redaction.add(&value.to_string_lossy(), &format!("[value of {name}]"), SHORTEST_SECRET);
            }
        }
        redaction
    }

    /// Knows the secrets of these sidecars, and those of this program.
    pub(super) fn of<'a>(sidecars: impl Iterator<Item = &'a Supervisor>) -> Self {
        let mut redaction = Self::of_this_program();
        for record in sidecars.map(Supervisor::record) {
            redaction.add_tokens(record.tokens().iter().map(Token::reveal));
            for spec in record.specs() {
                if let ServerSource::Run(program) = &spec.source {
                    redaction.add_program(program);
                }
            }
        }
        redaction
    }

    pub(super) fn add_tokens<'a>(&mut self, tokens: impl Iterator<Item = &'a str>) {
        for token in tokens {
            self.add(token, "[token]", 1);
        }
    }

    /// Knows the declared variables of a program, and the secrets among its arguments.
    pub(super) fn add_program(&mut self, program: &Program) {
        for (name, value) in &program.env {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            let shortest = if is_secret_name(&name) { SHORTEST_SECRET } else { SHORTEST_VALUE };
            self.add(&value, &format!("[value of {name}]"), shortest);
        }
        let text = |argument: &OsStr| argument.to_string_lossy().into_owned();
        let arguments: Vec<_> = program.args.iter().map(|argument| text(argument)).collect();
        for (index, argument) in arguments.iter().enumerate() {
            match argument.split_once('=') {
                Some((name, value)) if is_secret_name(name) => self.add(value, "[argument]", SHORTEST_SECRET),
                None if is_secret_option(argument) => {
                    if let Some(value) = arguments.get(index + 1) {
                        self.add(value, "[argument]", SHORTEST_SECRET);
                    }
                }
                Some(_) | None => {}
            }
        }
    }

    fn add(&mut self, value: &str, mark: &str, shortest: usize) {
        let forms = [value.to_owned(), percent_encoded(value), json_escaped(value)];
        let lines =
            value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE).map(str::to_owned);
        for form in forms.into_iter().filter(|form| form.trim().len() >= shortest).chain(lines) {
            if !self.known.iter().any(|(known, _)| *known == form) {
                self.known.push((form, mark.to_owned()));
            }
        }
        self.known.sort_by_key(|(known, _)| std::cmp::Reverse(known.len()));
    }

    /// The text without secrets.
    pub(super) fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (value, mark) in &self.known {
            if text.contains(value.as_str()) {
                text = text.replace(value.as_str(), mark);
            }
        }
        without_named_secrets(&text)
    }

    /// The same value without secrets: in its strings, in the names of its fields, and in fields with the name of a secret.
    pub(super) fn json(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(values) => values.into_iter().map(|value| self.json(value)).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(name, value)| {
                    let is_secret = is_secret_name(&name) && !matches!(value, Value::Null | Value::Bool(_));
                    let value = if is_secret { Value::String(REDACTED.to_owned()) } else { self.json(value) };
                    (self.text(&name), value)
                })
                .collect(),
            value => value,
        }
    }
}

const REDACTED: &str = "[redacted]";
/// How the marks begin that replace a value. A secret is not taken for one because it begins with a bracket.
const MARKS: [&str; 4] = [REDACTED, "[value", "[token]", "[argument]"];

/// Arguments without the values of those with the name of a secret: `--password=…`, and what follows `--password`.
pub(super) fn arguments(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut is_value = false;
    arguments
        .map(|argument| {
            if std::mem::take(&mut is_value) {
                return REDACTED.to_owned();
            }
            match argument.split_once('=') {
                Some((name, _)) if is_secret_name(name) => format!("{name}={REDACTED}"),
                Some(_) => argument,
                None => {
                    is_value = is_secret_option(&argument);
                    argument
                }
            }
        })
        .collect()
}

/// Whether an argument is an option whose value comes next.
fn is_secret_option(argument: &str) -> bool {
    argument.starts_with('-') && is_secret_name(argument)
}

/// What makes the name of a variable, a field or an option that of a secret.
const SECRET_NAME: &str = "password|passwd|passphrase|pwd|secret|token|credential|authorization|bearer|cookie|api[_-]?key|apikey\
                           |access[_-]?key|private[_-]?key|encryption[_-]?key|signing[_-]?key|master[_-]?key|connection[_-]?string|dsn|jwt";

fn is_secret_name(name: &str) -> bool {
    static NAME: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(&format!("(?i)({SECRET_NAME})|(^|[_-])(key|auth|pass|pin|salt)$")).ok());
    NAME.as_ref().is_none_or(|name_of_secret| name_of_secret.is_match(name))
}

/// The text without what has the form of a secret, whatever its value.
fn without_named_secrets(text: &str) -> String {
    static FORMS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let value = r#"("(?:[^"\\]|\\.)*"|'[^']*'|(?:(?:bearer|basic)[ \t]+)?[^\s&"']+)"#;
        let forms = [
            // A key in the form of PEM (RFC 7468), also within one line.
            (
                r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)".to_owned(),
                "[private key]",
            ),
            // Headers, to the ends of their lines: what follows a comma or a semicolon belongs to them (RFC 9110, RFC 6265).
            (
                r#"(?i)(\b(?:set-cookie|cookie|proxy-authorization|authorization)\\?["']?[ \t]*[:=][ \t]*)([^\r\n]+)"#.to_owned(),
                "${1}[redacted]",
            ),
            // The credentials of a URL (RFC 3986, 3.2.1).
            (r"(?i)([a-z][a-z0-9+.-]*://)[^\s/?#@]*:[^\s/?#]*@".to_owned(), "${1}[credentials]@"),
            (r"(?i)\b(bearer|basic)[ \t]+[a-z0-9._~+/=-]{8,}".to_owned(), "$1 [redacted]"),
            // A token in the form of RFC 7519.
            (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*".to_owned(), "[jwt]"),
            // `password = x`, `"apiKey": "x"`, `--token=x`, `?token=x`, also with escaped quotes.
            (
                format!(
                    r#"(?i)([a-z0-9_.-]*(?:{SECRET_NAME})[a-z0-9_.-]*(?:\\?["'])?[ \t]*(?:=|:|=>)[ \t]*)(?:\\")?{value}"#
                ),
                "${1}[redacted]",
            ),
            // `--password x`.
            (format!(r#"(?i)(--?[a-z0-9_.-]*(?:{SECRET_NAME})[a-z0-9_.-]*[ \t]+){value}"#), "${1}[redacted]"),
        ];
        forms.into_iter().filter_map(|(form, mark)| Some((Regex::new(&form).ok()?, mark))).collect()
    });
    let mut text = text.to_owned();
    for (form, mark) in FORMS.iter() {
        if form.is_match(&text) {
            text = form.replace_all(&text, |found: &Captures<'_>| expanded(found, mark)).into_owned();
        }
    }
    text
}

/// The mark with what stays of a match. A value that is a mark already stays.
fn expanded(found: &Captures<'_>, mark: &str) -> String {
    let whole = found.get(0).map_or("", |whole| whole.as_str());
    if let Some(value) = found.get(2) {
        let value = value.as_str();
        let unquoted = value.strip_prefix('"').unwrap_or(value);
        let is_mark = MARKS.iter().any(|mark| unquoted.starts_with(mark));
        if is_mark || ["null", "true", "false"].contains(&value.trim_end_matches(['}', ']', ','])) {
            return whole.to_owned();
        }
    }
    let mut text = String::new();
    found.expand(mark, &mut text);
    text
}

/// The value as it is in a URL (RFC 3986, 2.1).
fn percent_encoded(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// The value as it is within a string of JSON.
fn json_escaped(value: &str) -> String {
    let quoted = Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_has_the_name_or_the_form_of_a_secret_is_redacted() {
        for (text, expected) in [
            ("password=hunter2", "password=[redacted]"),
            ("db.password: hunter2,hunter2 next", "db.password: [redacted] next"),
            (r#"{"apiKey":"hunter2","n":1}"#, r#"{"apiKey":[redacted],"n":1}"#),
            (r#"{\"api_key\":\"hunter2\"}"#, r#"{\"api_key\":[redacted]"}"#),
            ("GET /a?token=hunter2&b=c", "GET /a?token=[redacted]&b=c"),
            ("run --password hunter2 --verbose", "run --password [redacted] --verbose"),
            ("Authorization: Bearer hunter2hunter2", "Authorization: [redacted]"),
            ("Cookie: a=hunter2; b=hunter2\nnext", "Cookie: [redacted]\nnext"),
            ("sent bearer hunter2hunter2.", "sent bearer [redacted]"),
            ("postgres://me:hunter2@db/x", "postgres://[credentials]@db/x"),
            ("redis://:hunter2@db", "redis://[credentials]@db"),
            ("SECRET_KEY='hunter2 and more'", "SECRET_KEY=[redacted]"),
            ("x eyJhbGciOiJI.eyJzdWIi.c2ln y", "x [jwt] y"),
            ("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----", "[private key]"),
        ] {
            let redacted = Redaction::default().text(text);
            assert!(!redacted.contains("hunter2"), "{text}: {redacted}");
            assert_eq!(redacted, expected, "{text}");
        }
        assert_eq!(
            Redaction::default().text("password=[a1 token={b2"),
            "password=[redacted] token=[redacted]"
        );
        for text in [
            "password=[redacted]",
            "\"token\":\"[token]\"",
            "{\"token\":null}",
            "the author: John",
            "listening on http://127.0.0.1:80/a@b",
            "monkey=1",
            "--verbose on",
        ] {
            assert_eq!(Redaction::default().text(text), text);
        }
    }

    #[test]
    fn a_known_value_is_redacted_wherever_it_is() {
        let program = Program::new("x")
            .env("MODE", "production-eu")
            .env("DB_PASSWORD", "h\"2\u{e9}")
            .env("CERTIFICATE", "-----BEGIN\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n")
            .args(["--password", "argument1", "--api-key=argument2", "--port", "4242"]);
        let mut redaction = Redaction::default();
        redaction.add_program(&program);
        redaction.add_tokens(["0123abcd"].into_iter());
        let marked = redaction
            .text("x0123abcdx production-eu h\"2é h%222%C3%A9 argument1 argument2 hkiG9w0BAQEFAASC 4242");
        assert_eq!(
            marked,
            "x[token]x [value of MODE] [value of DB_PASSWORD] [value of DB_PASSWORD] [argument] [argument] [value of CERTIFICATE] 4242"
        );
        let text =
            json!({ "a": ["h\"2é"], "0123abcd": { "sessionToken": 5, "token": null, "isSecret": true } });
        let redacted = redaction.json(text).to_string();
        assert!(
            redacted.contains(r#""sessionToken":"[redacted]""#) && redacted.contains(r#""token":null"#),
            "{redacted}"
        );
        assert!(!redacted.contains("0123abcd") && !redacted.contains("h\\\"2"), "{redacted}");
        assert_eq!(
            arguments(["--password", "a", "--api-key=b", "--port", "4242"].map(str::to_owned).into_iter()),
            ["--password", "[redacted]", "--api-key=[redacted]", "--port", "4242"]
        );
    }

    #[test]
    fn short_values_stay_and_short_secrets_go() {
        let program = Program::new("x")
            .env("DEBUG", "true")
            .env("LEVEL", "info")
            .env("DB_PIN", "9137")
            .env("EMPTY", "");
        let mut redaction = Redaction::default();
        redaction.add_program(&program);
        assert_eq!(redaction.text("true info 9137"), "true info [value of DB_PIN]");
    }
}
