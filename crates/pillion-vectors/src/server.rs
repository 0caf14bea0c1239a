//! A server that has started, as its clients reach it.

use std::path::PathBuf;

use anyhow::Result;

use crate::Answer;

/// Where a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A port of 127.0.0.1.
    Tcp(u16),
    /// The path of a Unix domain socket.
    Unix(PathBuf),
}

impl Address {
    /// The value of `Host`.
    #[must_use]
    pub fn host(&self) -> String {
        match self {
            Self::Tcp(port) => format!("127.0.0.1:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The value of `{port}`.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Tcp(port) => *port,
            Self::Unix(_) => 1,
        }
    }
}

/// A server to which vectors send requests.
pub trait Server {
    /// Where it listens.
    fn address(&self) -> &Address;

    /// Sends these bytes on a new connection, and reads one answer, which has no body if the request is HEAD. Blocks.
    ///
    /// # Errors
    /// Returns an error if the connection is refused, or if no complete answer comes.
    fn exchange(&self, request: &[u8], has_body: bool) -> Result<Answer>;
}

/// The handlers of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handlers {
    /// Those that docs/protocol/README.md describes: the answer says that a handler was reached.
    OfVectors,
    /// Any: an answer other than 401 and 403 counts as the answer of a handler. To a WebSocket, 403 counts as well.
    Any,
}
