use std::io;

use pillion_protocol::{Place, Token};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::address::Address;

/// The way to one run of a sidecar, whatever its transport. The next run has another one.
#[derive(Debug, Clone)]
pub struct Reach {
    pub(crate) address: Address,
    pub(crate) token: Option<Token>,
}

impl Reach {
    /// Opens a connection, on which the sidecar speaks HTTP/1.1. Dropping the future gives it up.
    ///
    /// # Errors
    /// What `connect(2)` says; once the run is over, mostly [`io::ErrorKind::ConnectionRefused`].
    pub async fn connect(&self) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        self.address.connect().await
    }

    /// What requests have to name in `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        self.place().authority()
    }

    /// Where the run serves.
    #[must_use]
    pub fn place(&self) -> Place {
        self.address.place()
    }

    /// The token that requests have to carry, as `Authorization: Bearer {token}`, where the sidecar is
    /// [private](crate::Spec::private). Give it to nobody but the app.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }
}
