//! The address on which a sidecar listens.

use std::{fmt, num::NonZeroU16};

/// The address on which a sidecar accepts connections.
///
/// `Display` is for messages: `port 4242`, `its local socket`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenAddr {
    /// A port of 127.0.0.1.
    Tcp(NonZeroU16),
    /// The Unix domain socket that the host passed to the sidecar (`LISTEN_FDS`), or on Windows the pipe that the host named
    /// (`PILLION_PIPE`). A run has at most one.
    Local,
}

impl ListenAddr {
    /// The value of `Host` in requests to this address, and the address that a [proof](crate::Token::prove) is bound to. For
    /// a local socket it is `localhost`, as clients write there.
    #[must_use]
    pub fn authority(self) -> String {
        match self {
            Self::Tcp(port) => format!("127.0.0.1:{port}"),
            Self::Local => "localhost".to_owned(),
        }
    }

    /// The port, or `None` for a local socket.
    #[must_use]
    pub fn port(self) -> Option<NonZeroU16> {
        match self {
            Self::Tcp(port) => Some(port),
            Self::Local => None,
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "port {port}"),
            Self::Local => f.write_str("its local socket"),
        }
    }
}
