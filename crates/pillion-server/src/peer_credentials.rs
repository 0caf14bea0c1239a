//! Checks the peer of a Unix domain socket: it has to belong to the user that runs the sidecar.

use axum::serve::Listener;
use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream, unix::SocketAddr};

/// A listener that rejects connections of other users. The directory of the socket should already keep them out; this is the
/// second line of defence.
///
/// The system reports the user at the time of the connection (`SO_PEERCRED`, unix(7); `getpeereid(3)` on macOS).
#[derive(Debug)]
pub(crate) struct SameUserListener(pub(crate) UnixListener);

impl Listener for SameUserListener {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.0).await;
            match stream.peer_cred() {
                Ok(peer) if peer.uid() == geteuid().as_raw() => return (stream, address),
                Ok(peer) => tracing::warn!(uid = peer.uid(), "rejected a connection of another user"),
                Err(error) => tracing::debug!(%error, "rejected a connection without peer credentials"),
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
