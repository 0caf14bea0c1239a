use std::time::Duration;

/// Limits on what one client may use.
///
/// | limit | default | answer beyond it |
/// | --- | --- | --- |
/// | [`connections`](Self::connections) | 256 | 503, and the connection is closed |
/// | [`head_bytes`](Self::head_bytes) | 64 KiB, and always 100 headers | 431, and the connection is closed |
/// | [`head_timeout`](Self::head_timeout) | 30 s | the connection is closed |
/// | [`body_bytes`](Self::body_bytes) | 64 MiB | 413; a body without `Content-Length` fails where the handler reads too far |
/// | [`response_timeout`](Self::response_timeout) | none | 503, and the handler is dropped |
///
/// ```
/// # use pillion_server::{Limits, Sidecar};
/// let sidecar = Sidecar::new("AIOS").limits(Limits::default().body_bytes(1 << 30));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    pub(crate) connections: usize,
    pub(crate) head_bytes: usize,
    pub(crate) head_timeout: Duration,
    pub(crate) body_bytes: usize,
    pub(crate) response_timeout: Option<Duration>,
}

impl Limits {
    /// Connections at the same time. Upgraded connections do not count: their handlers own them.
    pub fn connections(mut self, most: usize) -> Self {
        self.connections = most;
        self
    }

    /// Bytes in the head of a request, from the method to the empty line.
    pub fn head_bytes(mut self, most: usize) -> Self {
        self.head_bytes = most;
        self
    }

    /// How long the head of a request may take to arrive, and how long a connection may be idle.
    pub fn head_timeout(mut self, longest: Duration) -> Self {
        self.head_timeout = longest;
        self
    }

    /// Bytes in the body of a request, for extractors and streams. Replaces axum's own
    /// [`DefaultBodyLimit`](axum::extract::DefaultBodyLimit), which a route may still set.
    pub fn body_bytes(mut self, most: usize) -> Self {
        self.body_bytes = most;
        self
    }

    /// How long a handler may take until its response starts; the body of the response may take longer. There is no default,
    /// because only the author of a handler knows how long it works.
    pub fn response_timeout(mut self, longest: Duration) -> Self {
        self.response_timeout = Some(longest);
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            head_bytes: 64 << 10,
            head_timeout: Duration::from_secs(30),
            body_bytes: 64 << 20,
            response_timeout: None,
        }
    }
}
