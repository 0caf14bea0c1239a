//! The one thing with a token in it that leaves this crate.

use pillion_protocol::Token;
use serde::{Serialize, Serializer};

/// What a request to one run of a sidecar needs. Nothing else that this crate hands out or publishes has a token in it.
///
/// Serialized, it shows the token, so that a page can be given it; `Debug` does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Access {
    /// `http://127.0.0.1:{port}`, as in [`Endpoint`](crate::Endpoint).
    pub url: String,
    /// Its process, unless it was attached to: with the address, it tells one run from the next.
    pub pid: Option<u32>,
    /// The token that each request has to carry, as `Authorization: Bearer {token}`; `None` where the sidecar is not
    /// [private](crate::Spec::private).
    #[serde(serialize_with = "reveal")]
    #[cfg_attr(feature = "ts", ts(type = "string | null"))]
    pub token: Option<Token>,
}

fn reveal<S: Serializer>(token: &Option<Token>, serializer: S) -> Result<S::Ok, S::Error> {
    token.as_ref().map(Token::reveal).serialize(serializer)
}
