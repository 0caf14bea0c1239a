//! The connector: how this process reaches the server of a run.

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

/// How to connect to a run. For a local socket this is more than its listen address tells.
#[derive(Debug, Clone)]
pub(crate) enum Connector {
    /// To a port of 127.0.0.1.
    Tcp(NonZeroU16),
    /// To the Unix domain socket that was handed over.
    #[cfg(unix)]
    Unix(std::sync::Arc<crate::transport::unix_socket::Name>),
    /// To the named pipe whose name the sidecar received.
    #[cfg(windows)]
    NamedPipe(crate::transport::named_pipe::Pipe),
}

/// A connection of any kind.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

impl Connector {
    /// The listen address, as the sidecar announces it.
    pub(crate) fn listen_addr(&self) -> ListenAddr {
        match self {
            Self::Tcp(port) => ListenAddr::Tcp(*port),
            #[cfg(unix)]
            Self::Unix(_) => ListenAddr::Local,
            #[cfg(windows)]
            Self::NamedPipe(_) => ListenAddr::Local,
        }
    }

    /// Returns a connector to a pipe that these processes serve: it accepts no other process as the server.
    #[cfg(windows)]
    pub(crate) fn served_by(&self, group: &std::sync::Arc<crate::sys::Group>) -> Self {
        match self {
            Self::Tcp(port) => Self::Tcp(*port),
            Self::NamedPipe(pipe) => Self::NamedPipe(pipe.served_by(group)),
        }
    }

    /// Connects without resolver and proxy.
    pub(crate) async fn connect(&self) -> io::Result<Box<dyn ByteStream>> {
        Ok(self.connect_from_port().await?.0)
    }

    /// Connects to a Unix domain socket without waiting. `None` for a port, and if the backlog is full.
    #[cfg(target_os = "linux")]
    pub(crate) fn connect_now(&self) -> Option<io::Result<std::os::unix::net::UnixStream>> {
        let Self::Unix(name) = self else { return None };
        let connected = crate::transport::unix_socket::connect_now(name.path());
        let must_wait = matches!(&connected, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        (!must_wait).then_some(connected)
    }

    /// Connects in the same way. Also returns the local port of a TCP connection.
    pub(crate) async fn connect_from_port(&self) -> io::Result<(Box<dyn ByteStream>, Option<u16>)> {
        match self {
            Self::Tcp(port) => {
                let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port.get()))).await?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?.port();
                Ok((Box::new(stream), Some(local)))
            }
            #[cfg(unix)]
            Self::Unix(name) => {
                Ok((Box::new(crate::transport::unix_socket::connect(name.path()).await?), None))
            }
            #[cfg(windows)]
            Self::NamedPipe(pipe) => Ok((Box::new(pipe.connect().await?), None)),
        }
    }
}
