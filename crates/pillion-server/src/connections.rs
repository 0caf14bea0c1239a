//! Accepts connections, serves them, and drains them when the sidecar stops.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use axum::serve::Listener;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::JoinSet,
    time::timeout,
};

use crate::{Limits, Shutdown, admission::AdmissionLayer};

/// The response to a connection beyond the limit.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 37\r\n\r\nthis server has too many connections\n";
/// How many connections beyond the limit receive this response at the same time. Further ones are closed without it.
const MAX_REJECTED: usize = 64;
/// How long a client has to read this response.
const REJECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Accepts connections and serves them through `admission` until the stop is requested. Returns the connections that are
/// still open.
///
/// `axum::serve` cannot replace it: it neither counts the open connections nor closes them at a deadline, and it waits
/// without limit for the head of a request.
pub(crate) async fn accept(
    mut listener: impl Listener,
    admission: AdmissionLayer,
    limits: Limits,
    shutdown: Shutdown,
) -> JoinSet<()> {
    let (mut connections, mut rejected) = (JoinSet::new(), JoinSet::new());
    let admission = Arc::new(admission);
    let mut requested = pin!(shutdown.requested());
    loop {
        tokio::select! {
            (stream, _) = listener.accept() => {
                while connections.try_join_next().is_some() {}
                if connections.len() < limits.connections {
                    connections.spawn(serve(stream, Arc::clone(&admission), limits, shutdown.clone()));
                } else if rejected.len() < MAX_REJECTED {
                    rejected.spawn(reject(stream));
                }
            }
            Some(_) = connections.join_next() => {}
            Some(_) = rejected.join_next() => {}
            () = &mut requested => return connections,
        }
    }
}

/// Serves one connection until it ends. Once the stop is requested, ends it after the response in flight.
pub(crate) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    admission: Arc<AdmissionLayer>,
    limits: Limits,
    shutdown: Shutdown,
) {
    let service = service_fn(move |request| {
        let admission = Arc::clone(&admission);
        async move { Ok::<_, Infallible>(admission.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_header_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection.with_upgrades());
    let result = tokio::select! {
        result = &mut connection => result,
        () = shutdown.requested() => {
            // Closes an idle connection at once, and a busy one after its response.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended during a request");
    }
}

/// Answers 503 and closes the connection.
async fn reject(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let answer = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        // Closing a socket with unread bytes resets the connection, which can destroy the response: RFC 9112, section 9.6.
        let mut ignored = [0; 1024];
        while stream.read(&mut ignored).await? > 0 {}
        io::Result::Ok(())
    };
    // The connection is closed even if the client did not read the response.
    let _ = timeout(REJECT_TIMEOUT, answer).await;
}

/// Waits up to `grace` for the connections to finish. Cuts the others, and returns their number.
pub(crate) async fn drain(mut connections: JoinSet<()>, grace: Duration) -> usize {
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(grace, finished).await.is_ok() {
        return 0;
    }
    let dropped = connections.len();
    connections.shutdown().await;
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_503_has_the_length_that_it_declares() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
