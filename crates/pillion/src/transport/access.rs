//! What a request to a run needs, the token included.

use std::io;

use pillion_protocol::{ListenAddr, Token};
use serde::{Serialize, Serializer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::transport::connector::Connector;

/// What a request to one run of a sidecar needs. No other type that this crate returns or publishes carries a token.
///
/// [`Supervisor::access`](crate::Supervisor::access) returns it. Its serialized form shows the token, so that a page can receive
/// it; its `Debug` form does not.
///
/// ```no_run
/// # async fn example(backend: pillion::Supervisor) -> Result<(), Box<dyn std::error::Error>> {
/// let access = backend.access().await?; // waits until the sidecar is ready
/// let mut stream = access.connect().await?;
/// let host = access.listen_addr().authority();
/// let token = access.token.as_ref().map(|token| token.reveal()).unwrap_or_default();
/// let request = format!("GET /notes HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
/// tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[non_exhaustive]
pub struct Access {
    /// The base URL of the run.
    pub url: String,
    /// The process id, which changes from one run to the next. An attached server has none.
    pub pid: Option<u32>,
    /// The token that each request must carry, as `Authorization: Bearer {token}`. A sidecar that is not private has none.
    #[serde(serialize_with = "reveal")]
    #[cfg_attr(feature = "ts", ts(type = "string | null"))]
    pub token: Option<Token>,
    #[serde(skip)]
    #[cfg_attr(feature = "ts", ts(skip))]
    pub(crate) connector: Connector,
}

impl Access {
    /// Opens a connection to the run, over which the sidecar speaks HTTP/1.1. A sidecar without a port is reached only this way.
    /// Waits as long as the backlog of the sidecar is full. Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// The error of `connect(2)`; after the end of the run usually [`io::ErrorKind::ConnectionRefused`].
    pub async fn connect(&self) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        self.connector.connect().await
    }

    /// Opens a connection to the run at once or not at all, without a runtime: for an event loop that is not Tokio's. The socket does not
    /// block. `None` if the sidecar is not reached over a Unix domain socket, or if as many connections wait already as its backlog holds
    /// (unix(7)): then [`connect`](Self::connect) waits.
    ///
    /// # Errors
    /// Those of `connect(2)`.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn connect_now(&self) -> Option<io::Result<std::os::unix::net::UnixStream>> {
        self.connector.connect_now()
    }

    /// The listen address of the run. Its [`authority`](ListenAddr::authority) belongs in the `Host` header of requests.
    #[must_use]
    pub fn listen_addr(&self) -> ListenAddr {
        self.connector.listen_addr()
    }
}

fn reveal<S: Serializer>(token: &Option<Token>, serializer: S) -> Result<S::Ok, S::Error> {
    token.as_ref().map(Token::reveal).serialize(serializer)
}
