//! Where a sidecar serves.

use std::{fmt, num::NonZeroU16};

/// Where the sidecar that the host started accepts connections.
///
/// `Display` is what people call it: `port 4242`, `its local socket`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenAddr {
    /// A port of 127.0.0.1.
    Tcp(NonZeroU16),
    /// The Unix domain socket that the host handed over (`LISTEN_FDS`), or on Windows the pipe that it named
    /// (`PILLION_PIPE`). There is one in each run at most.
    Local,
}

impl ListenAddr {
    /// What requests name in `Host`, and what a [proof](crate::Token::prove) is bound to. A socket has no name of its own, and
    /// `localhost` is what clients write there.
    #[must_use]
    pub fn authority(self) -> String {
        match self {
            Self::Tcp(port) => format!("127.0.0.1:{port}"),
            Self::Local => "localhost".to_owned(),
        }
    }

    /// The port, where it has one.
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
