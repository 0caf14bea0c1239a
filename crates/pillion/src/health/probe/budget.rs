//! A connection with a limit for the bytes that a probe reads from it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes a probe reads at most, in all answers of its connection together: interim responses and headers may go on
/// without end.
pub(super) const LIMIT: usize = 512 * 1024;
/// How many of the first bytes are kept, to recognise other protocols.
const BEGINNING: usize = 64;

/// A stream that fails after [`LIMIT`] bytes.
#[derive(Debug)]
pub(super) struct Budget<S> {
    stream: S,
    left: usize,
    beginning: Beginning,
}

/// The first bytes that the server sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Beginning(Arc<OnceLock<Vec<u8>>>);

impl Beginning {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.get().map_or(&[], Vec::as_slice)
    }
}

impl<S> Budget<S> {
    pub(super) fn new(stream: S) -> (Self, Beginning) {
        let beginning = Beginning::default();
        (Self { stream, left: LIMIT, beginning: beginning.clone() }, beginning)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Budget<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            let message = format!("it sent more than {} KiB", LIMIT / 1024);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::FileTooLarge, message)));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        self.left = self.left.saturating_sub(read.len());
        if !read.is_empty() {
            self.beginning.0.get_or_init(|| read[..read.len().min(BEGINNING)].to_vec());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Budget<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
