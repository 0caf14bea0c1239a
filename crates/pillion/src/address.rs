//! How this program reaches the server of a run.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU16,
};

use pillion_protocol::Place;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// The address of a place, which for a socket is more than the sidecar knows of it.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    /// A port of 127.0.0.1.
    Port(NonZeroU16),
    /// The socket that was handed over.
    #[cfg(unix)]
    Socket(std::sync::Arc<crate::socket::Name>),
    /// The pipe that the sidecar was told to create.
    #[cfg(windows)]
    Pipe(crate::pipe::Pipe),
}

/// A connection, of whatever kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Address {
    /// What the sidecar calls it.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Port(port) => Place::Port(*port),
            #[cfg(unix)]
            Self::Socket(_) => Place::Socket,
            #[cfg(windows)]
            Self::Pipe(_) => Place::Socket,
        }
    }

    /// The same, served by these processes, where the system can tell.
    #[cfg(windows)]
    pub(crate) fn of(&self, group: &std::sync::Arc<crate::sys::Group>) -> Self {
        match self {
            Self::Port(port) => Self::Port(*port),
            Self::Pipe(pipe) => Self::Pipe(pipe.of(group)),
        }
    }

    /// Connects, straight to the address: no resolver, no proxy.
    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Port(port) => {
                let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port.get()))).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            #[cfg(unix)]
            Self::Socket(name) => Ok(Box::new(tokio::net::UnixStream::connect(name.path()).await?)),
            #[cfg(windows)]
            Self::Pipe(pipe) => Ok(Box::new(pipe.connect().await?)),
        }
    }
}
