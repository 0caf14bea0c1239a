use std::time::Duration;

/// Limits on what one client may use.
///
/// | limit | default | answer beyond it |
/// | --- | --- | --- |
/// | [`connections`](Self::connections) | 256 | the oldest one without the token is closed; 503 if all have shown it |
/// | [`first_token_timeout`](Self::first_token_timeout) | 5 s | the connection is closed |
/// | [`head_bytes`](Self::head_bytes) | 64 KiB, and always 100 headers | 431, and the connection is closed |
/// | [`head_timeout`](Self::head_timeout) | 30 s | the connection is closed |
/// | [`write_timeout`](Self::write_timeout) | 30 s, without the token | the connection is closed |
/// | [`abandoned_timeout`](Self::abandoned_timeout) | 1 s | the handler is dropped, and the connection is closed |
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
    pub(crate) first_token_timeout: Duration,
    pub(crate) head_bytes: usize,
    pub(crate) head_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) abandoned_timeout: Duration,
    pub(crate) body_bytes: usize,
    pub(crate) response_timeout: Option<Duration>,
}

impl Limits {
    /// Connections at the same time, and fewer if this process may open few files: 128 descriptors, or half of its limit
    /// (`RLIMIT_NOFILE`), stay free for other uses. Connections that have not shown the token may use three quarters of them, and
    /// make room for new ones. Upgraded connections do not count: their handlers own them.
    pub fn connections(mut self, most: usize) -> Self {
        self.connections = most;
        self
    }

    /// How long a connection may exist without a request that carries the token. Without a token, the first request that is
    /// served counts.
    pub fn first_token_timeout(mut self, longest: Duration) -> Self {
        self.first_token_timeout = longest;
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

    /// How long a client that has not shown the token may leave its response unread. A client that has shown it may read as
    /// slowly as it likes.
    pub fn write_timeout(mut self, longest: Duration) -> Self {
        self.write_timeout = longest;
        self
    }

    /// How long a handler may continue after its client has closed its side without reading. The client may be gone, or it may
    /// have half-closed the connection and wait for the response: TCP does not tell.
    pub fn abandoned_timeout(mut self, longest: Duration) -> Self {
        self.abandoned_timeout = longest;
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

    /// How many connections are open at most, as far as the descriptors of this process allow: without one, it could not accept those of
    /// the app.
    pub(crate) fn most_connections(&self) -> usize {
        #[cfg(unix)]
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        #[cfg(windows)]
        let descriptors = None;
        within(self.connections, descriptors)
    }
}

/// The descriptors that no connection takes, unless that is more than half of them.
const OTHER_DESCRIPTORS: u64 = 128;

fn within(connections: usize, descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else { return connections };
    let free = descriptors - OTHER_DESCRIPTORS.min(descriptors / 2);
    connections.min(usize::try_from(free).unwrap_or(usize::MAX))
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            first_token_timeout: Duration::from_secs(5),
            head_bytes: 64 << 10,
            head_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            abandoned_timeout: Duration::from_secs(1),
            body_bytes: 64 << 20,
            response_timeout: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_stream::{LINGER_BYTES, LINGER_TIME};

    #[test]
    fn connections_leave_descriptors_free() {
        assert_eq!(within(256, None), 256);
        assert_eq!(within(256, Some(1024)), 256);
        assert_eq!(within(256, Some(256)), 128);
        assert_eq!(within(256, Some(64)), 32);
        assert_eq!(within(4096, Some(1024)), 896);
        assert_eq!(within(256, Some(u64::MAX)), 256);
    }

    /// A page of `docs`, with line breaks as spaces.
    fn page(name: &str) -> String {
        let page = format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(page).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_documents_state_the_default_limits() {
        let limits = Limits::default();
        let (token, head) = (limits.first_token_timeout.as_secs(), limits.head_timeout.as_secs());
        let threats = page("threat-model.md");
        for sentence in [
            format!("a connection that has not shown the token is closed after {token} s"),
            format!("the sidecar closes each one after {token} s or after its first refusal"),
            format!("| no token within {token} s of the connection |"),
            format!("| a head of more than {} KiB, or more than 100 headers |", limits.head_bytes >> 10),
            format!("| no complete head, or an idle connection, for {head} s |"),
            format!("| an unread response, without the token, for {} s |", limits.write_timeout.as_secs()),
            format!("| a body of more than {} MiB |", limits.body_bytes >> 20),
            format!("| more than {} connections |", limits.connections),
            format!(
                "discards up to {} MiB of the body, for up to {} s",
                LINGER_BYTES >> 20,
                LINGER_TIME.as_secs()
            ),
        ] {
            assert!(threats.contains(&sentence), "docs/threat-model.md does not say {sentence:?}");
        }
        let sentence = format!("if it shows no token within {token} s");
        assert!(page("protocol.md").contains(&sentence), "docs/protocol.md does not say {sentence:?}");
    }
}
