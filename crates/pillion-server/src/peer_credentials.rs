//! Who is at the other end of a Unix domain socket: nobody but the user who runs the sidecar.

use axum::serve::Listener;
use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream, unix::SocketAddr};

/// A listener that turns other users away, should the directory that the socket was bound in not have done so.
///
/// The system says who connected (`SO_PEERCRED`, unix(7); `getpeereid(3)` on macOS), whatever that process has become since.
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
                Ok(peer) => tracing::warn!(uid = peer.uid(), "turned away another user of this machine"),
                Err(error) => tracing::debug!(%error, "turned away somebody without a name"),
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
