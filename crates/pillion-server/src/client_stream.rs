//! The byte stream to one client, between the system and hyper: it tells half-closed clients from gone ones, times out
//! clients that do not read, and comes back from hyper for a lingering close.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::oneshot,
    time::{Sleep, sleep, timeout},
};

use crate::Limits;

/// How long a lingering close may take altogether.
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(30);
/// How long a lingering close waits for the next bytes.
const LINGER_IDLE_TIME: Duration = Duration::from_secs(2);
/// How many bytes a lingering close discards.
pub(crate) const LINGER_BYTES: u64 = 256 << 20;

/// The state of the current exchange. Admission and stream share it; one connection has one exchange at a time.
#[derive(Debug, Default)]
pub(crate) struct ExchangeState {
    /// A request has started, and its response has not ended.
    in_flight: AtomicBool,
    /// The server has not read the current request to its end.
    unread: AtomicBool,
    /// The client has shown the token on this connection.
    token_shown: AtomicBool,
    /// The client has closed its side.
    ended: AtomicBool,
}

impl ExchangeState {
    /// A request has arrived, with a body or without one.
    pub(crate) fn start(&self, has_body: bool) {
        self.in_flight.store(true, Ordering::Relaxed);
        self.unread.store(has_body, Ordering::Relaxed);
    }

    /// The server closes the connection after this response, so it may leave further requests unread.
    pub(crate) fn close(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// The request carries the token: from now on this client may read as slowly as it likes.
    pub(crate) fn show_token(&self) {
        self.token_shown.store(true, Ordering::Relaxed);
    }

    /// Whether the client may still send bytes of a request that the server has not read.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed) && !self.ended.load(Ordering::Relaxed)
    }
}

/// A response body that marks the exchange as finished when hyper drops it.
#[derive(Debug)]
pub(crate) struct TrackedResponseBody {
    body: Body,
    exchange: Arc<ExchangeState>,
}

impl TrackedResponseBody {
    pub(crate) fn new(body: Body, exchange: Arc<ExchangeState>) -> Self {
        Self { body, exchange }
    }
}

impl Drop for TrackedResponseBody {
    fn drop(&mut self) {
        self.exchange.in_flight.store(false, Ordering::Relaxed);
    }
}

impl HttpBody for TrackedResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request body that records when the server has read it to its end.
#[derive(Debug)]
pub(crate) struct TrackedRequestBody<B> {
    body: B,
    exchange: Arc<ExchangeState>,
}

impl<B: HttpBody> TrackedRequestBody<B> {
    pub(crate) fn new(body: B, exchange: Arc<ExchangeState>) -> Self {
        Self { body, exchange }
    }
}

impl<B: HttpBody + Unpin> HttpBody for TrackedRequestBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.exchange.unread.store(false, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The stream that hyper uses. When hyper drops it, the underlying stream goes back to the connection's task.
///
/// hyper drops the handler as soon as a client closes its side (its `half_close` is off), so a client that sends a request and
/// closes its side at once would lose the answer. With `half_close` on, hyper would not notice that a client has gone. This
/// stream hides the end for a limited time while a response is due.
#[derive(Debug)]
pub(crate) struct ClientStream<S> {
    stream: Option<S>,
    back: Option<oneshot::Sender<S>>,
    exchange: Arc<ExchangeState>,
    limits: Limits,
    /// Runs from the end of the client's side while a response is due.
    abandoned: Option<Pin<Box<Sleep>>>,
    /// Runs while the client does not read.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: Unpin> ClientStream<S> {
    /// Wraps `stream`. The receiver gets it back, unless a handler has upgraded the connection.
    pub(crate) fn new(
        stream: S,
        exchange: Arc<ExchangeState>,
        limits: Limits,
    ) -> (Self, oneshot::Receiver<S>) {
        let (back, receiver) = oneshot::channel();
        let stream = Some(stream);
        (Self { stream, back: Some(back), exchange, limits, abandoned: None, stalled: None }, receiver)
    }

    fn inner(&mut self) -> Pin<&mut S> {
        Pin::new(self.stream.as_mut().expect("only `drop` takes the stream"))
    }

    /// Records whether a write got on, and fails if the client has not read for too long.
    fn check_stalled<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            // A client that reads is not gone.
            self.abandoned = None;
            return result;
        }
        let longest = self.limits.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(longest)));
        if stalled.as_mut().poll(context).is_pending() || self.exchange.token_shown.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S> Drop for ClientStream<S> {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Fails if the connection's task has ended: then the stream is closed here.
            let _ = back.send(stream);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.exchange.ended.load(Ordering::Relaxed) {
            let before = buffer.filled().len();
            let result = self.inner().poll_read(context, buffer);
            let ended = matches!(result, Poll::Ready(Ok(()))) && buffer.filled().len() == before;
            if !ended || buffer.remaining() == 0 {
                return result;
            }
            self.exchange.ended.store(true, Ordering::Relaxed);
        }
        let response_due = self.exchange.in_flight.load(Ordering::Relaxed) || self.stalled.is_some();
        if response_due {
            let longest = self.limits.abandoned_timeout;
            let abandoned = self.abandoned.get_or_insert_with(|| Box::pin(sleep(longest)));
            if abandoned.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = self.inner().poll_write(context, bytes);
        self.check_stalled(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = self.inner().poll_write_vectored(context, bytes);
        self.check_stalled(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(context)
    }
}

/// Closes a connection on which the client may still send: ends our side, then reads and discards until the client closes its
/// side, within limits. To close a socket with unread bytes resets the connection, and the reset can destroy a response that
/// the client has not read yet (RFC 9112, section 9.6).
pub(crate) async fn linger(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let discard = async {
        stream.shutdown().await?;
        let mut discarded = 0;
        let mut buffer = vec![0; 64 << 10];
        while discarded < LINGER_BYTES {
            match timeout(LINGER_IDLE_TIME, stream.read(&mut buffer)).await {
                Ok(Ok(read)) if read > 0 => discarded += read as u64,
                _ => break,
            }
        }
        io::Result::Ok(())
    };
    // Within the limits or not, the connection is closed now.
    let _ = timeout(LINGER_TIME, discard).await;
}
