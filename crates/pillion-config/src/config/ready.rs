//! The field `ready` of a sidecar.

use std::fmt;

use pillion::{ExecCheck, HttpCheck, LineCheck, OutputStream, ReadyCheck};
use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

/// `"health"`, `"tcp"`, `"notify"`, `"started"`, or the fields of [`ReadyFields`].
#[derive(Debug, Clone, Default)]
pub(super) struct ReadyConfig(pub(super) ReadyCheck, Option<Vec<String>>);

impl ReadyConfig {
    /// The command of an `exec` check: its program and its arguments.
    pub(super) fn command(&self) -> Option<&[String]> {
        self.1.as_deref()
    }
}

/// The check by a command.
pub(super) fn exec_check(command: &[String]) -> ReadyCheck {
    let (program, args) =
        command.split_first().map_or(("", command), |(program, args)| (program.as_str(), args));
    ReadyCheck::Exec(ExecCheck::new(program).args(args))
}

/// A ready check with `http`, `line` or `exec`.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ReadyFields {
    /// Ready when a GET request to this path answers 2xx.
    http: Option<String>,
    /// The one status that counts for `http`, from 200 to 599.
    status: Option<u16>,
    /// Ready when a complete line of output matches this regular expression (syntax of the Rust crate regex-lite). A group with the
    /// name `port` gives the port, if `port` does not: `"listening on port (?<port>[0-9]+)"`.
    line: Option<String>,
    /// The one output stream that counts for `line`: `"stdout"` or `"stderr"`; both by default.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    stream: Option<OutputStream>,
    /// Ready when this command, a program and its arguments, exits with 0. It runs again and again, for 10 s at most each time, with
    /// the environment and the directory of the sidecar, without its token. Placeholders as in `args`.
    exec: Option<Vec<String>>,
}

impl ReadyFields {
    fn check(self) -> Result<ReadyCheck, String> {
        let Self { http, status, line, stream, exec } = self;
        if status.is_some() && http.is_none() {
            return Err("`status` belongs to `http`".to_owned());
        }
        if stream.is_some() && line.is_none() {
            return Err("`stream` belongs to `line`".to_owned());
        }
        match (http, line, exec) {
            (Some(path), None, None) => {
                let check = HttpCheck::new(path);
                Ok(ReadyCheck::Http(match status {
                    Some(status) => check.status(status),
                    None => check,
                }))
            }
            (None, Some(expression), None) => {
                let check = LineCheck::new(&expression).map_err(|error| error.to_string())?;
                Ok(ReadyCheck::Line(match stream {
                    Some(stream) => check.stream(stream),
                    None => check,
                }))
            }
            (None, None, Some(command)) => Ok(exec_check(&command)),
            (None, None, None) | (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                Err("give one of `http`, `line` and `exec`".to_owned())
            }
        }
    }
}

impl<'de> Deserialize<'de> for ReadyConfig {
    fn deserialize<D: Deserializer<'de>>(declared: D) -> Result<Self, D::Error> {
        struct WordOrFields;

        impl<'de> de::Visitor<'de> for WordOrFields {
            type Value = ReadyConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "\"health\", \"tcp\", \"notify\", \"started\", or an object with http, line or exec",
                )
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<ReadyConfig, E> {
                let check = match word {
                    "health" => ReadyCheck::Health,
                    "tcp" => ReadyCheck::Tcp,
                    "notify" => ReadyCheck::Notify,
                    "started" => ReadyCheck::Started,
                    other => return Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                };
                Ok(ReadyConfig(check, None))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, fields: A) -> Result<ReadyConfig, A::Error> {
                let fields = ReadyFields::deserialize(MapAccessDeserializer::new(fields))?;
                let command = fields.exec.clone();
                let check = fields.check().map_err(de::Error::custom)?;
                Ok(ReadyConfig(check, command))
            }
        }

        declared.deserialize_any(WordOrFields)
    }
}
