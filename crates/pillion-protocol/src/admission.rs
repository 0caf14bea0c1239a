//! Admission: decides which requests a sidecar serves, from the head of a request alone and without I/O.
//!
//! The checks run in this order, and the first check that fails decides. A refused request reaches no handler.
//!
//! | check | what it stops | answer if it fails |
//! | --- | --- | --- |
//! | exactly one `Host` (RFC 9112, section 3.2) | requests whose target server is ambiguous | 400 |
//! | `Host`, and the authority of an absolute target (RFC 9112, section 3.2.2), is `127.0.0.1` or `localhost` with the port; on a local socket `localhost` | DNS rebinding: the browser puts the attacker's host name into `Host` | 403 |
//! | no `Origin`, or exactly one that belongs to the app (RFC 6454, section 7) | other pages in the user's browser | 403 |
//! | the token, if the host set one (RFC 6750, section 2.1) | every caller except the app | 401 |
//!
//! Two kinds of request need no token. Browsers send a preflight without credentials; the sidecar answers it without a
//! handler. A health request without the token learns only that the sidecar is alive.

use memchr::memmem;

use crate::{ListenAddr, Token, health::DEFAULT_PATH};

/// The subprotocol that a page offers beside the one that carries the token. The server chooses it if the handler chooses no
/// other: a browser fails a WebSocket whose server chooses none of the offered subprotocols
/// (<https://websockets.spec.whatwg.org/>).
pub const SUBPROTOCOL: &str = "pillion";
/// The prefix of the subprotocol that carries the token. A page cannot set `Authorization` on a WebSocket, and a token in the
/// URL would end up in logs.
pub const BEARER_SUBPROTOCOL: &str = "pillion.bearer.";

/// The values of one header. Admission rejects repeated headers, so this type does not keep their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Field<'a> {
    /// The header is absent.
    #[default]
    Absent,
    /// The header occurs once, with this value.
    One(&'a [u8]),
    /// The header occurs more than once.
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

/// The parts of a request's head that admission depends on. Start from [`Head::new`] and set the other fields.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Head<'a> {
    /// The method, which is case-sensitive.
    pub method: &'a str,
    /// The scheme, if the target is in absolute form.
    pub scheme: Option<&'a str>,
    /// The authority, if the target is in absolute or authority form, including any user information.
    pub authority: Option<&'a str>,
    /// The path of the target as the client sent it, without the query: neither decoded nor normalised.
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

impl<'a> Head<'a> {
    /// A head without headers, for a target in origin form.
    #[must_use]
    pub fn new(method: &'a str, path: &'a str) -> Self {
        Self { method, path, ..Self::default() }
    }
}

/// What the server does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Decision {
    /// The app sent it: pass it to the handler.
    Serve,
    /// A page of the app sent a preflight: answer it without a handler.
    Preflight,
    /// A health request without the token: answer it without a handler, and say only that the sidecar is alive.
    Alive,
    /// The token is missing or wrong: answer 401.
    Unauthorized,
    /// The request is for another server, or from another origin: answer with [`Refusal::status`].
    Refuse(Refusal),
}

/// Why the server refuses a request before it looks at the token. `Display` is the text for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request has no `Host`.
    #[error("a request to this server needs a Host header")]
    NoHost,
    /// The request has more than one `Host`.
    #[error("a request to this server needs exactly one Host header")]
    SeveralHosts,
    /// `Host` or the target names another server.
    #[error(
        "the request names another server: this server is 127.0.0.1 or localhost, with its port if it has one"
    )]
    ForeignHost,
    /// The page has another origin.
    #[error(
        "this server does not serve pages of that origin: PILLION_ALLOWED_ORIGINS lists the allowed origins"
    )]
    ForeignOrigin,
}

impl Refusal {
    /// The status code of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::NoHost | Self::SeveralHosts => 400,
            Self::ForeignHost | Self::ForeignOrigin => 403,
        }
    }
}

/// The admission rules of one server.
///
/// ```
/// use pillion_protocol::{
///     Admission, Decision, ListenAddr, Token,
///     admission::{Field, Head},
/// };
///
/// let (addr, token) = (ListenAddr::Tcp(4242.try_into().unwrap()), Token::from_bytes(&[7; 32]));
/// let admission = Admission::new(addr, vec!["tauri://localhost".to_owned()], Some(token.clone()));
///
/// let mut head = Head::new("GET", "/items");
/// head.host = Field::One(b"127.0.0.1:4242");
/// assert_eq!(admission.decide(&head), Decision::Unauthorized);
///
/// let bearer = format!("Bearer {}", token.reveal());
/// head.authorization = Field::One(bearer.as_bytes());
/// assert_eq!(admission.decide(&head), Decision::Serve);
/// ```
#[derive(Debug, Clone)]
pub struct Admission {
    hosts: Vec<String>,
    origins: Vec<String>,
    token: Option<Token>,
}

impl Admission {
    /// The rules of a server at `addr` that serves pages of `origins`, as browsers write them. Without a token, every request
    /// with the right `Host` and no foreign `Origin` is served; use that for development.
    #[must_use]
    pub fn new(addr: ListenAddr, origins: Vec<String>, token: Option<Token>) -> Self {
        Self { hosts: hosts(addr), origins, token }
    }

    /// The token that a request has to carry.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Decides on one request. Looks at nothing but `head`.
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
            Some(token) if carries(head, token) => Decision::Serve,
            Some(_) if head.path == DEFAULT_PATH && matches!(head.method, "GET" | "HEAD") => Decision::Alive,
            Some(_) => Decision::Unauthorized,
        }
    }

    /// Host names are case-insensitive (RFC 9110, section 4.2.3).
    fn is_ours(&self, host: &[u8]) -> bool {
        self.hosts.iter().any(|ours| ours.as_bytes().eq_ignore_ascii_case(host))
    }
}

/// The values of `Host` that the server at `addr` accepts. DNS rebinding cannot reach a local socket; the check stays there
/// because it also rejects requests for another server.
fn hosts(addr: ListenAddr) -> Vec<String> {
    let names = ["127.0.0.1", "localhost"];
    let ListenAddr::Tcp(port) = addr else { return vec![addr.authority()] };
    let mut hosts: Vec<_> = names.iter().map(|name| format!("{name}:{port}")).collect();
    if port.get() == 80 {
        // Clients may omit the default port (RFC 9110, section 4.2.1).
        hosts.extend(names.map(str::to_owned));
    }
    hosts
}

fn carries(head: &Head<'_>, token: &Token) -> bool {
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

/// The credentials after the scheme `Bearer`. The scheme is case-insensitive, and one or more spaces follow it (RFC 9110,
/// sections 11.1 and 11.4).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, credentials) = value.split_at_checked("bearer ".len())?;
    let digits = credentials.iter().position(|byte| *byte != b' ').map(|start| &credentials[start..]);
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| digits.unwrap_or_default())
}

/// The token in an offered subprotocol, or `None` if the subprotocol carries no token.
fn bearer_subprotocol(offer: &[u8]) -> Option<&[u8]> {
    offer.strip_prefix(BEARER_SUBPROTOCOL.as_bytes())
}

/// The elements of a comma-separated list (RFC 9110, section 5.6.1).
fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Splits the value of `Sec-WebSocket-Protocol`: returns the app's own subprotocols, from which the handler of the WebSocket
/// chooses, and whether the page offered [`SUBPROTOCOL`].
///
/// Drops every element that contains [`BEARER_SUBPROTOCOL`], even in the middle, where the page forgot a comma. So no handler
/// can log the token.
#[must_use]
pub fn without_bearer(offered: &[u8]) -> (Vec<u8>, bool) {
    let is_ours = |offer: &&[u8]| *offer == SUBPROTOCOL.as_bytes();
    let has_token = |offer: &&[u8]| memmem::find(offer, BEARER_SUBPROTOCOL.as_bytes()).is_some();
    let own: Vec<_> = elements(offered).filter(|offer| !is_ours(offer) && !has_token(offer)).collect();
    (own.join(b", ".as_slice()), elements(offered).any(|offer| is_ours(&offer)))
}

#[cfg(test)]
mod tests;
