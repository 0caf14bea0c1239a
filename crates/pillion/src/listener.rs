//! A listener that the supervisor binds and hands to the sidecar (socket activation).

use std::net::TcpListener;

/// A bound listener, or on Windows the name of a pipe.
#[derive(Debug)]
pub(crate) enum Listener {
    /// Listens on a port of 127.0.0.1.
    Tcp(TcpListener),
    /// Listens on a Unix domain socket.
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener),
    /// The named pipe that the sidecar creates.
    #[cfg(windows)]
    NamedPipe(pillion_protocol::PipeName),
}

impl Listener {
    /// The environment variable that names it. A listener that is handed over as a descriptor needs none.
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

#[cfg(unix)]
impl std::os::fd::AsFd for Listener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}
