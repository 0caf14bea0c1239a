//! How a program is asked to stop.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

/// How the supervisor, or the guard after the app's death, asks a program to stop.
///
/// The supervisor first asks the leader, the process that it started. It asks the other processes of the group when the leader
/// has ended, or after half of the [grace period](crate::Spec::grace). It kills what is left at the end of the grace period.
///
/// The leader is asked in one of these ways:
///
/// - by the [`signal`](Self::signal), SIGTERM by default, and the end of its stdin: the default way;
/// - by an [`http`](Self::http) request, once the sidecar has been ready. If the request fails or its answer is not 2xx, the
///   supervisor asks in the next way;
/// - by a line on its stdin, which the end of stdin follows.
///
/// After half of the grace period the signal goes to every process that did not get it, the leader included.
///
/// ```
/// use pillion::{Program, StopRequest, StopSignal};
///
/// // Postgres: SIGINT is the "fast shutdown".
/// let postgres = Program::new("./postgres").stop(StopRequest::default().signal(StopSignal::Int));
/// ```
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StopRequest {
    /// The signal: `"SIGTERM"` by default.
    pub(crate) signal: StopSignal,
    /// The processes that get the signal at first: `"leader"` by default.
    pub(crate) scope: StopScope,
    /// An HTTP request that asks the leader, such as `"POST /shutdown"`.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub(crate) http: Option<HttpStopRequest>,
    /// A line on the leader's stdin that asks it, such as `"quit"`.
    #[serde(rename = "stdin")]
    pub(crate) stdin_line: Option<String>,
}

impl StopRequest {
    /// Sets the signal; the default is SIGTERM. Windows has no signals: there the leader's stdin ends and nothing else.
    #[must_use]
    pub fn signal(mut self, signal: StopSignal) -> Self {
        self.signal = signal;
        self
    }

    /// Sets which processes get the signal at first; the default is [`StopScope::Leader`].
    #[must_use]
    pub fn scope(mut self, scope: StopScope) -> Self {
        self.scope = scope;
        self
    }

    /// Asks by an HTTP request without a body, such as `POST /shutdown`. A private sidecar gets it with the token, on a
    /// connection where it has proved that it holds the token.
    ///
    /// After the app's death the guard sends the request over a port of 127.0.0.1. It cannot reach a sidecar on a Unix domain
    /// socket, and signals it instead.
    #[must_use]
    pub fn http(mut self, request: HttpStopRequest) -> Self {
        self.http = Some(request);
        self
    }

    /// Asks by this text on stdin, such as `quit`. The supervisor adds the newline if the text has none.
    #[must_use]
    pub fn stdin_line(mut self, line: impl Into<String>) -> Self {
        self.stdin_line = Some(line.into());
        self
    }

    /// The bytes for stdin, if any.
    pub(crate) fn stdin_bytes(&self) -> Option<Vec<u8>> {
        let line = self.stdin_line.as_ref()?;
        let newline = if line.ends_with('\n') { "" } else { "\n" };
        Some(format!("{line}{newline}").into_bytes())
    }
}

/// A signal that asks a program to stop. In JSON and on the command line: `SIGTERM` and so on.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[non_exhaustive]
pub enum StopSignal {
    /// SIGTERM.
    #[default]
    #[serde(rename = "SIGTERM")]
    Term,
    /// SIGINT, as Ctrl-C sends it.
    #[serde(rename = "SIGINT")]
    Int,
    /// SIGQUIT.
    #[serde(rename = "SIGQUIT")]
    Quit,
    /// SIGHUP.
    #[serde(rename = "SIGHUP")]
    Hup,
    /// SIGUSR1.
    #[serde(rename = "SIGUSR1")]
    Usr1,
    /// SIGUSR2.
    #[serde(rename = "SIGUSR2")]
    Usr2,
}

const SIGNALS: [(StopSignal, &str); 6] = [
    (StopSignal::Term, "SIGTERM"),
    (StopSignal::Int, "SIGINT"),
    (StopSignal::Quit, "SIGQUIT"),
    (StopSignal::Hup, "SIGHUP"),
    (StopSignal::Usr1, "SIGUSR1"),
    (StopSignal::Usr2, "SIGUSR2"),
];

/// The processes that get the stop signal at first. In JSON and on the command line: `leader` and `group`.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum StopScope {
    /// The leader alone. The others follow when it has ended, or after half of the grace period.
    #[default]
    Leader,
    /// All processes of the process group at once, as Ctrl-C in a terminal does.
    Group,
}

/// An HTTP request that asks a program to stop: a method and a path. In JSON and on the command line: `POST /shutdown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpStopRequest {
    pub(crate) method: String,
    pub(crate) path: String,
}

/// Why a text is not a stop signal, a stop scope or an HTTP request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidStopRequest {
    /// The text is not the name of a stop signal.
    #[error("{0:?} is not a stop signal: use SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1 or SIGUSR2")]
    Signal(String),
    /// The text is not a stop scope.
    #[error("{0:?} is not a stop scope: use \"leader\" or \"group\"")]
    Scope(String),
    /// The text is not a method and a path.
    #[error("{0:?} is not an HTTP request: write a method, a space and a path, such as \"POST /shutdown\"")]
    Http(String),
}

impl FromStr for StopSignal {
    type Err = InvalidStopRequest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = SIGNALS.iter().find(|(_, name)| *name == text || name.strip_prefix("SIG") == Some(text));
        found.map(|(signal, _)| *signal).ok_or_else(|| InvalidStopRequest::Signal(text.to_owned()))
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = SIGNALS.iter().find(|(signal, _)| signal == self);
        f.write_str(found.map_or("SIGTERM", |(_, name)| name))
    }
}

impl FromStr for StopScope {
    type Err = InvalidStopRequest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "leader" => Ok(Self::Leader),
            "group" => Ok(Self::Group),
            _ => Err(InvalidStopRequest::Scope(text.to_owned())),
        }
    }
}

impl FromStr for HttpStopRequest {
    type Err = InvalidStopRequest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidStopRequest::Http(text.to_owned());
        let (method, path) = text.split_once(' ').ok_or_else(invalid)?;
        // The characters of RFC 9110 for a method, and of RFC 3986 for a path and a query.
        let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/?".contains(&byte);
        if !is_method || !path.starts_with('/') || !path.bytes().all(is_path) {
            return Err(invalid());
        }
        Ok(Self { method: method.to_owned(), path: path.to_owned() })
    }
}

impl<'de> Deserialize<'de> for HttpStopRequest {
    fn deserialize<D: Deserializer<'de>>(declared: D) -> Result<Self, D::Error> {
        String::deserialize(declared)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_with_and_without_sig() {
        for (signal, name) in SIGNALS {
            assert_eq!(name.parse(), Ok(signal));
            assert_eq!(name.trim_start_matches("SIG").parse(), Ok(signal));
            assert_eq!(signal.to_string(), name);
        }
        for other in ["", "SIG", "SIGKILL", "SIGSTOP", "sigterm", "15"] {
            assert!(other.parse::<StopSignal>().is_err(), "{other}");
        }
    }

    #[test]
    fn an_http_request_is_a_method_and_a_path() {
        let request: HttpStopRequest = "POST /api/shutdown?now=1".parse().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/api/shutdown?now=1"));
        for other in [
            "",
            "POST",
            "POST ",
            "/shutdown",
            "post /shutdown",
            "POST shutdown",
            "POST /a b",
            "POST /a\r\nX: 1",
        ] {
            assert!(other.parse::<HttpStopRequest>().is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_declaration_names_what_is_wrong() {
        let read = serde_json::from_str::<StopRequest>;
        let request =
            r#"{ "signal": "SIGINT", "scope": "group", "http": "POST /shutdown", "stdin": "quit" }"#;
        let expected = StopRequest::default()
            .signal(StopSignal::Int)
            .scope(StopScope::Group)
            .http("POST /shutdown".parse().unwrap())
            .stdin_line("quit");
        assert_eq!(read(request).unwrap(), expected);
        assert_eq!(expected.stdin_bytes().unwrap(), b"quit\n");
        assert_eq!(read("{}").unwrap(), StopRequest::default());
        for (declared, named) in [
            (r#"{ "signal": "SIGKILL" }"#, "SIGKILL"),
            (r#"{ "scope": "all" }"#, "all"),
            (r#"{ "http": "/shutdown" }"#, "/shutdown"),
            (r#"{ "sginal": "SIGINT" }"#, "sginal"),
        ] {
            let error = read(declared).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
