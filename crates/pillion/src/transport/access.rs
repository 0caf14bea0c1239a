//! The one thing with a token in it that leaves this crate.

use std::io;

use pillion_protocol::{ListenAddr, Token};
use serde::{Serialize, Serializer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::transport::connector::Connector;

/// What a request to one run of a sidecar needs. Nothing else that this crate hands out or publishes has a token in it.
///
/// Serialized, it shows the token, so that a page can be given it; `Debug` does not.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Access {
    /// As in [`Endpoint`](crate::Endpoint).
    pub url: String,
    /// Its process, unless it was attached to: with the connector, it tells one run from the next.
    pub pid: Option<u32>,
    /// The token that each request has to carry, as `Authorization: Bearer {token}`; `None` where the sidecar is not
    /// [private](crate::Spec::private).
    #[serde(serialize_with = "reveal")]
    #[cfg_attr(feature = "ts", ts(type = "string | null"))]
    pub token: Option<Token>,
    #[serde(skip)]
    #[cfg_attr(feature = "ts", ts(skip))]
    pub(crate) connector: Connector,
}

impl Access {
    /// Opens a connection, on which the sidecar speaks HTTP/1.1: the only way to one on a socket. Dropping the future gives it up.
    ///
    /// # Errors
    /// What `connect(2)` says; once the run is over, mostly [`io::ErrorKind::ConnectionRefused`].
    pub async fn connect(&self) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        self.connector.connect().await
    }

    /// Where the run serves, and by that what requests have to name in `Host`.
    #[must_use]
    pub fn listen_addr(&self) -> ListenAddr {
        self.connector.listen_addr()
    }
}

fn reveal<S: Serializer>(token: &Option<Token>, serializer: S) -> Result<S::Ok, S::Error> {
    token.as_ref().map(Token::reveal).serialize(serializer)
}
