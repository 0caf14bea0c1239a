//! Accepting and serving connections, and letting go of them.

use std::{pin::pin, time::Duration};

use axum::{Router, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
    time::timeout,
};

use crate::Shutdown;

/// Serves `router` on every connection until the stop is requested; returns the connections still open then.
///
/// `axum::serve` is not used: it neither tells how many connections are left nor lets go of them at a deadline.
pub(crate) async fn accept(mut listener: impl Listener, router: Router, shutdown: Shutdown) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    let mut requested = pin!(shutdown.requested());
    loop {
        tokio::select! {
            (stream, _) = listener.accept() => {
                connections.spawn(serve(stream, router.clone(), shutdown.clone()));
            }
            Some(_) = connections.join_next() => {}
            () = &mut requested => return connections,
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    shutdown: Shutdown,
) {
    let connection =
        http1::Builder::new().serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection.with_upgrades());
    let result = tokio::select! {
        result = &mut connection => result,
        () = shutdown.requested() => {
            // Closes an idle connection at once, and a busy one behind the response that it owes.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended in the middle of a request");
    }
}

/// Waits up to `grace` for the connections to finish; drops the others and returns their number.
pub(crate) async fn drain(mut connections: JoinSet<()>, grace: Duration) -> usize {
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(grace, finished).await.is_ok() {
        return 0;
    }
    let dropped = connections.len();
    connections.shutdown().await;
    dropped
}
