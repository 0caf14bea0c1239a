//! Accepts connections, serves them, and drains them when the sidecar stops.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use axum::serve::Listener;
use hyper::{body::Body as _, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};

use crate::{
    Limits, Shutdown,
    admission::AdmissionLayer,
    client_stream::{ClientStream, ExchangeState, TrackedResponseBody, linger},
    pool::{Eviction, Pool, Slot},
};

/// The response to a connection beyond the limit.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 37\r\n\r\nthis server has too many connections\n";
/// How many connections beyond the limit receive this response at the same time. Further ones are closed without it.
const MAX_REJECTED: usize = 64;
/// How long a client beyond the limit has to send the head of its request.
const REJECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How a sidecar serves its connections.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) admission: Arc<AdmissionLayer>,
    pub(crate) limits: Limits,
    pub(crate) shutdown: Shutdown,
    /// Whether one side of a connection can be closed alone, as with sockets. Otherwise, a lingering close is impossible.
    pub(crate) half_close: bool,
}

impl Server {
    /// Accepts connections and serves them until the stop is requested. Returns the connections that are still open.
    ///
    /// `axum::serve` cannot replace it: it neither counts the open connections nor closes them at a deadline, and it waits
    /// without limit for the head of a request.
    pub(crate) async fn accept(self, mut listener: impl Listener) -> JoinSet<()> {
        let (mut connections, mut rejected) = (JoinSet::new(), JoinSet::new());
        let pool = Pool::new(self.limits.most_connections());
        let mut requested = pin!(self.shutdown.requested());
        loop {
            tokio::select! {
                (stream, _) = listener.accept() => {
                    while connections.try_join_next().is_some() {}
                    if let Some((slot, eviction)) = pool.take() {
                        connections.spawn(self.clone().serve(stream, slot, eviction));
                        // Lets the new connection read its first request before further ones can evict it.
                        yield_now().await;
                    } else if rejected.len() < MAX_REJECTED {
                        rejected.spawn(self.clone().reject(stream));
                    }
                }
                Some(_) = connections.join_next() => {}
                Some(_) = rejected.join_next() => {}
                () = &mut requested => return connections,
            }
        }
    }

    /// Serves one connection until it ends, until the pool evicts it, or until its client has shown no token for too long.
    pub(crate) async fn serve(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        slot: Slot,
        eviction: Eviction,
    ) {
        let slot = Arc::new(slot);
        let unauthorized_for_too_long = async {
            sleep(self.limits.first_token_timeout).await;
            if slot.is_authorized() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            // The connection first: a token that has arrived counts, even if this task runs late.
            biased;
            () = self.serve_requests(stream, &slot) => {}
            () = eviction.evicted() => tracing::debug!("closed a connection without the token: the pool is full"),
            () = unauthorized_for_too_long => tracing::debug!("closed a connection that did not show the token in time"),
        }
    }

    /// Serves the requests of one connection. Once the stop is requested, ends it after the response in flight.
    async fn serve_requests(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        slot: &Arc<Slot>,
    ) {
        let exchange = Arc::new(ExchangeState::default());
        let (stream, back) = ClientStream::new(stream, Arc::clone(&exchange), self.limits);
        let (admission, current, slot) =
            (Arc::clone(&self.admission), Arc::clone(&exchange), Arc::clone(slot));
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let (admission, exchange, slot) =
                (Arc::clone(&admission), Arc::clone(&current), Arc::clone(&slot));
            exchange.start(!request.body().is_end_stream());
            async move {
                let response = admission.answer(request, &exchange, &slot).await;
                Ok::<_, Infallible>(response.map(|body| TrackedResponseBody::new(body, exchange)))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_timeout)
            .max_header_size(self.limits.head_bytes)
            .serve_connection(TokioIo::new(stream), service);
        let result = {
            let mut connection = pin!(connection.with_upgrades());
            tokio::select! {
                result = &mut connection => result,
                () = self.shutdown.requested() => {
                    // Closes an idle connection at once, and a busy one after its response.
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        let malformed = result.as_ref().is_err_and(hyper::Error::is_parse);
        if let Err(error) = result {
            tracing::debug!(%error, "a connection ended during a request");
        }
        // Fails if a handler has upgraded the connection, and owns the stream.
        if self.half_close
            && let Ok(mut stream) = back.await
            && (exchange.is_unread() || malformed || has_bytes(&mut stream).await)
        {
            linger(&mut stream).await;
        }
    }

    /// Answers 503 and closes the connection. Reads the request first, because some clients do not accept an early answer.
    async fn reject(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let _ = timeout(REJECT_TIMEOUT, read_head(&mut stream, self.limits.head_bytes)).await;
        // The connection is closed even if the client does not read the response.
        if let Ok(Ok(())) = timeout(REJECT_TIMEOUT, stream.write_all(FULL)).await
            && self.half_close
        {
            linger(&mut stream).await;
        }
    }
}

/// Whether bytes of the client have already arrived, such as a further request at the stop.
async fn has_bytes(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    matches!(timeout(Duration::ZERO, stream.read(&mut [0])).await, Ok(Ok(1)))
}

/// Reads up to the end of the head of a request, or at most `most` bytes.
async fn read_head(stream: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<()> {
    let mut head = Vec::new();
    while head.len() < most && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(())
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
