use std::time::Duration;

/// How much a client may ask of a sidecar.
///
/// | more than that | is answered with |
/// | --- | --- |
/// | [`connections`](Self::connections) | 503, and the connection is closed |
/// | [`head`](Self::head) bytes, or 100 headers | 431, and the connection is closed |
/// | [`head_time`](Self::head_time) for the head of a request, or between two requests | the connection is closed |
/// | [`body`](Self::body) bytes | 413; a body without `Content-Length` fails where the handler reads too far |
/// | [`answer`](Self::answer) until the head of the response | 503, and the handler is dropped |
///
/// ```
/// # use pillion_server::{Limits, Sidecar};
/// let sidecar = Sidecar::new("AIOS").limits(Limits { body: 1 << 30, ..Limits::default() });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time: 256. Upgraded ones are their handlers' to count.
    pub connections: usize,
    /// Bytes of a request's head, from the method to the empty line: 64 KiB.
    pub head: usize,
    /// How long a request's head may take to arrive, and how long a connection may be idle: 30 seconds.
    pub head_time: Duration,
    /// Bytes of a request's body, for extractors and streams alike: 64 MiB. It takes the place of axum's own
    /// [`DefaultBodyLimit`](axum::extract::DefaultBodyLimit), which a route may still set.
    pub body: usize,
    /// How long a handler may take until it answers; a response that streams may go on for longer. Not limited: only its
    /// author knows what a handler does.
    pub answer: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            head: 64 << 10,
            head_time: Duration::from_secs(30),
            body: 64 << 20,
            answer: None,
        }
    }
}
