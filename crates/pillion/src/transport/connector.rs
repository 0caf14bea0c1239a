//! How this program reaches the server of a run.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU16,
};

use pillion_protocol::ListenAddr;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// The address of a place, which for a socket is more than the sidecar knows of it.
#[derive(Debug, Clone)]
pub(crate) enum Connector {
    /// A port of 127.0.0.1.
    Tcp(NonZeroU16),
    /// The socket that was handed over.
    #[cfg(unix)]
    Unix(std::sync::Arc<crate::transport::unix_socket::Name>),
    /// The pipe that the sidecar was told to create.
    #[cfg(windows)]
    NamedPipe(crate::transport::named_pipe::Pipe),
}

/// A connection, of whatever kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Connector {
    /// What the sidecar calls it.
    pub(crate) fn listen_addr(&self) -> ListenAddr {
        match self {
            Self::Tcp(port) => ListenAddr::Tcp(*port),
            #[cfg(unix)]
            Self::Unix(_) => ListenAddr::Local,
            #[cfg(windows)]
            Self::NamedPipe(_) => ListenAddr::Local,
        }
    }

    /// The same, served by these processes, where the system can tell.
    #[cfg(windows)]
    pub(crate) fn of(&self, group: &std::sync::Arc<crate::sys::Group>) -> Self {
        match self {
            Self::Tcp(port) => Self::Tcp(*port),
            Self::NamedPipe(pipe) => Self::NamedPipe(pipe.of(group)),
        }
    }

    /// Connects, straight to the connector: no resolver, no proxy.
    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(port) => {
                let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port.get()))).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            #[cfg(unix)]
            Self::Unix(name) => Ok(Box::new(tokio::net::UnixStream::connect(name.path()).await?)),
            #[cfg(windows)]
            Self::NamedPipe(pipe) => Ok(Box::new(pipe.connect().await?)),
        }
    }
}
