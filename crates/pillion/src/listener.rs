//! A listener that the supervisor binds and hands to the sidecar (socket activation).

use std::net::TcpListener;

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum Listener {
    /// On a port of 127.0.0.1.
    Tcp(TcpListener),
    /// On a Unix domain socket.
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener),
    /// On a pipe that is not there yet.
    #[cfg(windows)]
    NamedPipe(pillion_protocol::PipeName),
}

impl Listener {
    /// The variable by which the run is told of it, where it is nothing that could be handed over.
    pub(crate) fn variable(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Tcp(_) => None,
            #[cfg(unix)]
            Self::Unix(_) => None,
            #[cfg(windows)]
            Self::NamedPipe(name) => Some((pillion_protocol::environment::PIPE, name.to_string())),
        }
    }
}
