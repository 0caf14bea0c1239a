//! Whom a sidecar answers: a decision on a request's head, without I/O.
//!
//! The checks, in this order; the first that fails decides. Nothing of a refused request reaches a handler.
//!
//! | check | what it stops | otherwise |
//! | --- | --- | --- |
//! | exactly one `Host` (RFC 9112, section 3.2) | requests of which nobody can say whom they mean | 400 |
//! | `Host`, and the authority of an absolute target (RFC 9112, section 3.2.2), is `127.0.0.1` or `localhost` and the port; on a socket `localhost` | DNS rebinding: there the page's own name is in `Host` | 403 |
//! | no `Origin`, or exactly one that is the app's (RFC 6454, section 7) | other pages in the user's browser | 403 |
//! | the token, where the host gave one (RFC 6750, section 2.1) | everybody who is not the app | 401 |
//!
//! Two requests need no token: a preflight, which browsers send without credentials and no handler sees, and one for
//! health, which tells no more than that somebody is alive.

use memchr::memmem;

use crate::{ListenAddr, Token, health::DEFAULT_PATH};

/// What a page names as the subprotocol that the server is to choose, beside the one that carries the token: a browser
/// fails a WebSocket whose server chooses none of those that were offered: <https://websockets.spec.whatwg.org/>.
pub const SUBPROTOCOL: &str = "pillion";
/// What a subprotocol that carries the token starts with. Pages cannot set `Authorization` on a WebSocket, and an address
/// that holds a secret ends up in logs.
pub const BEARER_SUBPROTOCOL: &str = "pillion.bearer.";

/// The values of a header, as far as they matter: one that is there twice is never right where it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Field<'a> {
    /// It is not there.
    #[default]
    Absent,
    /// Its one value.
    One(&'a [u8]),
    /// It is there more than once.
    Several,
}

impl<'a> FromIterator<&'a [u8]> for Field<'a> {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(values: I) -> Self {
        let mut values = values.into_iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Absent,
            (Some(value), None) => Self::One(value),
            (Some(_), Some(_)) => Self::Several,
        }
    }
}

/// The head of a request, as far as it decides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head<'a> {
    /// The method, which is case-sensitive.
    pub method: &'a str,
    /// The scheme of a target in absolute form.
    pub scheme: Option<&'a str>,
    /// The authority of a target in absolute or authority form, with whatever user information it carries.
    pub authority: Option<&'a str>,
    /// The path of the target as it was sent, without the query: nothing is decoded or normalised.
    pub path: &'a str,
    /// `Host`.
    pub host: Field<'a>,
    /// `Origin`.
    pub origin: Field<'a>,
    /// `Authorization`.
    pub authorization: Field<'a>,
    /// `Access-Control-Request-Method`.
    pub requested_method: Field<'a>,
    /// `Upgrade`.
    pub upgrade: Field<'a>,
    /// `Sec-WebSocket-Protocol`.
    pub subprotocols: Field<'a>,
}

/// What is to be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// The app asks: a handler may see it.
    Serve,
    /// A page of the app asks whether it may ask: answered without a handler.
    Preflight,
    /// Somebody asks for health: answered without a handler, and told that this is alive, but not who it is.
    Alive,
    /// The token is missing or wrong: 401.
    Unauthorized,
    /// Not for us, or not from the app.
    Refuse(Refusal),
}

/// Why a request is not for us, or not from the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no `Host`.
    #[error("this server answers requests with a Host header")]
    NoHost,
    /// There is more than one `Host`.
    #[error("this server answers requests with one Host header")]
    SeveralHosts,
    /// Another server is meant.
    #[error(
        "this server answers as 127.0.0.1 and localhost, with its port if it has one, and as nobody else"
    )]
    ForeignHost,
    /// A page of another origin asks.
    #[error(
        "this server does not answer pages of that origin; PILLION_ALLOWED_ORIGINS names those that it does"
    )]
    ForeignOrigin,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::NoHost | Self::SeveralHosts => 400,
            Self::ForeignHost | Self::ForeignOrigin => 403,
        }
    }
}

/// Who is let in.
#[derive(Debug, Clone)]
pub struct Admission {
    hosts: Vec<String>,
    origins: Vec<String>,
    token: Option<Token>,
}

impl Admission {
    /// For a server at `place`, for pages of `origins`, as browsers write them. Without a token everybody who
    /// comes by the right name and from no foreign page is let in, which is for development.
    #[must_use]
    pub fn new(addr: ListenAddr, origins: Vec<String>, token: Option<Token>) -> Self {
        Self { hosts: hosts(addr), origins, token }
    }

    /// The token that requests have to carry.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Decides.
    pub fn decide(&self, head: &Head<'_>) -> Decision {
        match head.host {
            Field::Absent => return Decision::Refuse(Refusal::NoHost),
            Field::Several => return Decision::Refuse(Refusal::SeveralHosts),
            Field::One(host) => {
                let target = head.authority.is_none_or(|authority| self.is_ours(authority.as_bytes()));
                let plain = head.scheme.is_none_or(|scheme| scheme.eq_ignore_ascii_case("http"));
                if !(self.is_ours(host) && target && plain) {
                    return Decision::Refuse(Refusal::ForeignHost);
                }
            }
        }
        let from_page = match head.origin {
            Field::Absent => false,
            Field::One(origin) if self.origins.iter().any(|ours| ours.as_bytes() == origin) => true,
            Field::One(_) | Field::Several => return Decision::Refuse(Refusal::ForeignOrigin),
        };
        if from_page && head.method == "OPTIONS" && head.requested_method != Field::Absent {
            return Decision::Preflight;
        }
        match &self.token {
            None => Decision::Serve,
            Some(token) if holds(head, token) => Decision::Serve,
            Some(_) if head.path == DEFAULT_PATH && matches!(head.method, "GET" | "HEAD") => Decision::Alive,
            Some(_) => Decision::Unauthorized,
        }
    }

    /// Names of hosts know no case (RFC 9110, section 4.2.3).
    fn is_ours(&self, host: &[u8]) -> bool {
        self.hosts.iter().any(|ours| ours.as_bytes().eq_ignore_ascii_case(host))
    }
}

/// The names of the server at `place`. A socket cannot be reached by another name than the host's, and so needs no check
/// against DNS rebinding; that there is one keeps what was meant for another server away.
fn hosts(addr: ListenAddr) -> Vec<String> {
    let names = ["127.0.0.1", "localhost"];
    let ListenAddr::Tcp(port) = addr else { return vec![addr.authority()] };
    let mut hosts: Vec<_> = names.iter().map(|name| format!("{name}:{port}")).collect();
    if port.get() == 80 {
        // The default port is left out by those who know it (RFC 9110, section 4.2.1).
        hosts.extend(names.map(str::to_owned));
    }
    hosts
}

fn holds(head: &Head<'_>, token: &Token) -> bool {
    if matches!(head.authorization, Field::One(value) if bearer(value).is_some_and(|presented| token.is(presented)))
    {
        return true;
    }
    match (head.upgrade, head.subprotocols) {
        (Field::One(upgrade), Field::One(offered)) if upgrade.eq_ignore_ascii_case(b"websocket") => {
            elements(offered)
                .any(|offer| bearer_subprotocol(offer).is_some_and(|presented| token.is(presented)))
        }
        _ => false,
    }
}

/// The credentials of the scheme `Bearer`, whose name knows no case and is followed by spaces (RFC 9110, sections 11.1 and
/// 11.4).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, credentials) = value.split_at_checked("bearer ".len())?;
    let digits = credentials.iter().position(|byte| *byte != b' ').map(|start| &credentials[start..]);
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| digits.unwrap_or_default())
}

/// What an offered subprotocol carries as a token; `None` for a subprotocol like any other.
fn bearer_subprotocol(offer: &[u8]) -> Option<&[u8]> {
    offer.strip_prefix(BEARER_SUBPROTOCOL.as_bytes())
}

/// The elements of a list (RFC 9110, section 5.6.1).
fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The subprotocols among `offered` that are the app's own, for the handler of the WebSocket to choose from, and whether
/// [`SUBPROTOCOL`] is among them. The token is left out, so that no handler can log it, also where whoever offers it has
/// forgotten a comma.
#[must_use]
pub fn without_bearer(offered: &[u8]) -> (Vec<u8>, bool) {
    let ours = |offer: &&[u8]| *offer == SUBPROTOCOL.as_bytes();
    let secret = |offer: &&[u8]| memmem::find(offer, BEARER_SUBPROTOCOL.as_bytes()).is_some();
    let own: Vec<_> = elements(offered).filter(|offer| !ours(offer) && !secret(offer)).collect();
    (own.join(b", ".as_slice()), elements(offered).any(|offer| ours(&offer)))
}

#[cfg(test)]
mod tests;
