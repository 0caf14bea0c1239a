//! Why a probe found the sidecar not ready.

use std::{fmt, io};

use hyper::StatusCode;
use pillion_protocol::defaults::HEALTH_ATTEMPT_TIMEOUT;

/// Why an attempt found the sidecar not ready. Its text completes a sentence about the sidecar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReady {
    #[error("this program cannot send the request ({0})")]
    Unable(String),
    #[error("nothing accepts connections there ({0})")]
    Unreachable(String),
    #[error("nothing accepts connections there, but [::1]:{0} does; let the server listen on 127.0.0.1")]
    OnlyIpv6(u16),
    #[error("it gave no answer within {} s", HEALTH_ATTEMPT_TIMEOUT.as_secs())]
    Silent,
    #[error("{0}")]
    Status(ErrorAnswer),
    #[error("it gave no HTTP answer ({0})")]
    NotHttp(String),
    #[error("it speaks TLS (HTTPS); let it speak plain HTTP on 127.0.0.1")]
    Tls,
    #[error("it speaks HTTP/2 only; let it speak HTTP/1.1 as well")]
    Http2,
    #[error("another server answered: its instance is not that of the started process")]
    Foreign,
    #[error(
        "another program answered{}, not a process of this sidecar; stop that program, or let the sidecar listen on \
         another port",
        .0.as_ref().map(|owner| format!(" ({owner})")).unwrap_or_default()
    )]
    OtherProgram(Option<String>),
    #[error("it gave no proof that it holds the token")]
    Unproved,
    /// What became of the command of an exec check.
    #[error("{0}")]
    Command(String),
    /// The command of an exec check cannot be started.
    #[error("it cannot be started: {0}")]
    NoCommand(String),
}

/// An answer whose status is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorAnswer {
    pub(crate) status: StatusCode,
    /// The target of a redirect.
    pub(crate) location: Option<String>,
    /// The first line of the body.
    pub(crate) text: Option<String>,
}

impl fmt::Display for ErrorAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it answered {}", self.status)?;
        if let Some(location) = &self.location {
            write!(f, ", a redirect to {location:?}; declare the health path that answers 2xx itself")?;
        }
        match &self.text {
            Some(text) => write!(f, ": {text:?}"),
            None => Ok(()),
        }
    }
}

impl NotReady {
    /// Whether another attempt cannot succeed.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Unproved | Self::NoCommand(_))
    }

    /// What to do if the server has no handler for the health path. Completes a sentence that names the path.
    pub(crate) fn cure(&self) -> Option<&'static str> {
        let Self::Status(answer) = self else { return None };
        let cure = "let the server answer that path with a 2xx, or set `health` to a path that it answers with a 2xx";
        (answer.status == StatusCode::NOT_FOUND).then_some(cure)
    }

    /// Tells a server that cannot be reached from a lack of descriptors, memory or local ports in this process.
    pub(crate) fn not_connected(error: &io::Error) -> Self {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, TimedOut};
        match error.kind() {
            ConnectionRefused | ConnectionReset | ConnectionAborted | TimedOut => {
                Self::Unreachable(error.to_string())
            }
            _ => Self::Unable(error.to_string()),
        }
    }
}
