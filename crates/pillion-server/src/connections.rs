//! Accepting and serving connections, and letting go of them.

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

/// What a connection beyond the limit is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 37\r\n\r\nthis server has too many connections\n";
/// How many connections beyond the limit are told so at the same time; more than these are only closed.
const TURNED_AWAY: usize = 64;
/// How long such a connection has to take note.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves what is behind `gate` on every connection until the stop is requested; returns the connections still open then.
///
/// `axum::serve` is not used: it neither tells how many connections are left nor lets go of them at a deadline, and it
/// waits for the head of a request for ever.
pub(crate) async fn accept(
    mut listener: impl Listener,
    gate: AdmissionLayer,
    limits: Limits,
    shutdown: Shutdown,
) -> JoinSet<()> {
    let (mut connections, mut turned_away) = (JoinSet::new(), JoinSet::new());
    let gate = Arc::new(gate);
    let mut requested = pin!(shutdown.requested());
    loop {
        tokio::select! {
            (stream, _) = listener.accept() => {
                while connections.try_join_next().is_some() {}
                if connections.len() < limits.connections {
                    connections.spawn(serve(stream, Arc::clone(&gate), limits, shutdown.clone()));
                } else if turned_away.len() < TURNED_AWAY {
                    turned_away.spawn(turn_away(stream));
                }
            }
            Some(_) = connections.join_next() => {}
            Some(_) = turned_away.join_next() => {}
            () = &mut requested => return connections,
        }
    }
}

/// Serves one connection until its end, or until the stop is requested and what it owes is answered.
pub(crate) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    gate: Arc<AdmissionLayer>,
    limits: Limits,
    shutdown: Shutdown,
) {
    let service = service_fn(move |request| {
        let gate = Arc::clone(&gate);
        async move { Ok::<_, Infallible>(gate.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_header_size(limits.head)
        .serve_connection(TokioIo::new(stream), service);
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

/// Says that there are too many connections.
async fn turn_away(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let say = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        // To close a socket with unread bytes resets it, which can overtake the answer: RFC 9112, section 9.6.
        let mut ignored = [0; 1024];
        while stream.read(&mut ignored).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever does not listen is closed all the same.
    let _ = timeout(FAREWELL, say).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_one_too_many_is_as_long_as_it_says() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
