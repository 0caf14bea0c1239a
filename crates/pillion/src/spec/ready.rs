//! When a sidecar is ready.

use std::{ffi::OsString, fmt};

use regex_lite::Regex;

use crate::status::OutputStream;

/// The name of the group of a [`LineCheck`] that matches the port.
const PORT_GROUP: &str = "port";

/// When a sidecar counts as ready, and whether the supervisor checks afterwards that it still answers.
///
/// | | ready when | its port | a ready sidecar that does not answer |
/// | --- | --- | --- | --- |
/// | [`Health`](Self::Health), [`Http`](Self::Http) | the path answers | needed | counts as hung |
/// | [`Tcp`](Self::Tcp) | the port accepts a connection | needed | counts as hung only if the port refuses connections |
/// | [`Line`](Self::Line) | it writes the line | optional; the line can contain it | is not noticed |
/// | [`Exec`](Self::Exec) | the command exits with 0 | optional | is not noticed |
/// | [`Notify`](Self::Notify) | it sends `READY=1` | optional | is not noticed, unless it has a [watchdog](crate::Spec::watchdog) |
/// | [`Started`](Self::Started) | it is launched | optional | is not noticed |
///
/// Only `Health` proves that the server there is this sidecar on every system. `Http` and `Tcp` check on Linux that the port belongs to
/// a process of the run. No check but `Health` can prove the token of a [private](crate::Program::private) sidecar: with a port and
/// another check, the declaration is invalid; without a port, the sidecar gets no token.
///
/// An attached server is checked by `Tcp` instead of `Line`, `Exec`, `Notify` and `Started`.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum ReadyCheck {
    /// The [health path](crate::Spec::health_path) answers 2xx, with the instance and, for a private sidecar, with the proof.
    #[default]
    Health,
    /// A path answers with a status.
    Http(HttpCheck),
    /// The port accepts a connection.
    Tcp,
    /// A line of output matches a regular expression.
    Line(LineCheck),
    /// A command exits with 0.
    Exec(ExecCheck),
    /// A process of the run sends `READY=1` to the socket in `NOTIFY_SOCKET`, as services of systemd with `Type=notify` do
    /// ([`sd_notify(3)`](https://man7.org/linux/man-pages/man3/sd_notify.3.html)). Linux only.
    ///
    /// `STATUS=` becomes the [progress](crate::Status::progress); `EXTEND_TIMEOUT_USEC=` gives the start so much time from then on,
    /// within [`ready_timeout_max`](crate::Spec::ready_timeout_max); after `STOPPING=1` a ready sidecar is unhealthy until it ends.
    /// `WATCHDOG=1` and `WATCHDOG_USEC=` are for its [watchdog](crate::Spec::watchdog), and after `WATCHDOG=trigger` it counts as hung,
    /// also during its start, which then fails. Other assignments are ignored. The kernel names the sender of each message; one
    /// of a process that is not of the run, or that has ended before its message was read, is ignored with a notice. Like systemd,
    /// the supervisor reads `BARRIER=1` (`sd_notify_barrier(3)`), by which `systemd-notify` waits.
    Notify,
    /// The program is launched. A worker without a port needs no more.
    Started,
}

/// A path that answers with a status when the sidecar is ready: any 2xx, unless another one is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    pub(crate) path: String,
    pub(crate) status: Option<u16>,
}

impl HttpCheck {
    /// `path` starts with a slash, and answers 2xx to a GET request. Redirects are not followed.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), status: None }
    }

    /// Sets the one status that counts, from 200 to 599.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }
}

/// A line of output that says that the sidecar is ready.
#[derive(Debug, Clone)]
pub struct LineCheck {
    expression: Regex,
    stream: Option<OutputStream>,
}

/// Why a text is not a regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{expression:?} is not a regular expression: {why}")]
#[non_exhaustive]
pub struct InvalidExpression {
    /// The text.
    pub expression: String,
    /// The error of the parser.
    pub why: String,
}

/// A line that matches, as far as a check can tell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LineMatch {
    /// What the group `port` matched.
    pub(crate) port: Option<String>,
}

impl LineCheck {
    /// The sidecar is ready when a line of its stdout or stderr contains a match of `expression`, in the syntax of the crate
    /// [`regex-lite`](https://docs.rs/regex-lite/latest/regex_lite/#syntax). A group with the name `port` gives the port, if the
    /// declaration does not: `listening on port (?<port>[0-9]+)`. Only complete lines count, and of a line longer than
    /// [`LINE_LIMIT`](crate::LINE_LIMIT) the part that is kept.
    ///
    /// # Errors
    /// An invalid expression.
    pub fn new(expression: &str) -> Result<Self, InvalidExpression> {
        match Regex::new(expression) {
            Ok(expression) => Ok(Self { expression, stream: None }),
            Err(error) => {
                Err(InvalidExpression { expression: expression.to_owned(), why: error.to_string() })
            }
        }
    }

    /// Sets the one stream that counts.
    #[must_use]
    pub fn stream(mut self, stream: OutputStream) -> Self {
        self.stream = Some(stream);
        self
    }

    /// Whether the expression has the group that gives the port.
    pub(crate) fn has_port(&self) -> bool {
        self.expression.capture_names().flatten().any(|name| name == PORT_GROUP)
    }

    pub(crate) fn find(&self, stream: OutputStream, line: &str) -> Option<LineMatch> {
        if self.stream.is_some_and(|only| only != stream) {
            return None;
        }
        let found = self.expression.captures(line)?;
        Some(LineMatch { port: found.name(PORT_GROUP).map(|port| port.as_str().to_owned()) })
    }
}

impl fmt::Display for LineCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = match self.stream {
            Some(OutputStream::Stdout) => " on stdout",
            Some(OutputStream::Stderr) => " on stderr",
            None => "",
        };
        write!(f, "a line{stream} that matches {:?}", self.expression.as_str())
    }
}

/// A command that exits with 0 when the sidecar is ready.
///
/// It runs again and again, with pauses that grow from 4 to 250 ms, and gets the environment and the working directory of the sidecar,
/// without its token and with an instance of its own. An attempt that takes longer than 10 s is killed, with all processes that it
/// started; so is one that is under way when the sidecar ends.
///
/// ```
/// use pillion::{ExecCheck, Program, ReadyCheck, Spec};
///
/// let check = ExecCheck::new("pg_isready").args(["-q"]);
/// let database = Spec::run("db", Program::new("./db")).ready_check(ReadyCheck::Exec(check));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecCheck {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
}

impl ExecCheck {
    /// Runs `program`. A bare name is looked up in `PATH`.
    #[must_use]
    pub fn new(program: impl Into<OsString>) -> Self {
        Self { program: program.into(), args: Vec::new() }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }
}

impl fmt::Display for ExecCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}", self.program.display())?;
        for arg in &self.args {
            write!(f, " {}", arg.display())?;
        }
        write!(f, "`")
    }
}

impl ReadyCheck {
    /// Whether the check asks a server at an address.
    pub(crate) fn needs_address(&self) -> bool {
        match self {
            Self::Health | Self::Http(_) | Self::Tcp => true,
            Self::Line(_) | Self::Exec(_) | Self::Notify | Self::Started => false,
        }
    }

    /// Whether the check proves that the server holds the token.
    pub(crate) fn proves_token(&self) -> bool {
        matches!(self, Self::Health)
    }

    /// The name in the configuration.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Http(_) => "http",
            Self::Tcp => "tcp",
            Self::Line(_) => "line",
            Self::Exec(_) => "exec",
            Self::Notify => "notify",
            Self::Started => "started",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(check: &LineCheck, stream: OutputStream, line: &str) -> Option<Option<String>> {
        check.find(stream, line).map(|found| found.port)
    }

    #[test]
    fn a_line_of_either_stream_counts_unless_one_is_named() {
        let both = LineCheck::new("ready to accept").unwrap();
        let stderr = both.clone().stream(OutputStream::Stderr);
        let line = "LOG: database system is ready to accept connections";
        assert_eq!(found(&both, OutputStream::Stdout, line), Some(None));
        assert_eq!(found(&both, OutputStream::Stderr, line), Some(None));
        assert_eq!(found(&stderr, OutputStream::Stdout, line), None);
        assert_eq!(found(&stderr, OutputStream::Stderr, line), Some(None));
        assert_eq!(stderr.to_string(), "a line on stderr that matches \"ready to accept\"");
    }

    #[test]
    fn the_group_port_gives_the_port() {
        let check = LineCheck::new(r"listening on \S+:(?<port>\d+)").unwrap();
        assert!(check.has_port() && !LineCheck::new(r"port (\d+)").unwrap().has_port());
        let line = "INFO listening on http://127.0.0.1:4242 (press Ctrl+C)";
        assert_eq!(found(&check, OutputStream::Stdout, line), Some(Some("4242".to_owned())));
        let optional = LineCheck::new(r"ready(?: on (?<port>\d+))?").unwrap();
        assert_eq!(found(&optional, OutputStream::Stdout, "ready"), Some(None));
    }

    #[test]
    fn an_invalid_expression_is_an_error_that_names_it() {
        let error = LineCheck::new("ready (").unwrap_err().to_string();
        assert!(error.starts_with("\"ready (\" is not a regular expression: "), "{error}");
    }
}
