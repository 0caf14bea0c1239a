//! A connection over a Unix domain socket that either of two event loops can wait for: that of the app's main thread or that of the runtime.
//! The one that polls it, waits for it.

use std::{
    cell::Cell,
    io::{self, IoSlice, Read as _, Write as _},
    net::Shutdown,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::net::UnixStream,
    },
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that one read takes on the main thread, in bytes. Answers that are read there are small.
const PIECE: usize = 16 * 1024;

/// What a poll on the main thread came to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Readable(RawFd),
    Writable(RawFd),
}

thread_local! {
    /// Set while [`poll_here`] polls.
    static IS_HERE: Cell<bool> = const { Cell::new(false) };
    static WAIT: Cell<Option<Wait>> = const { Cell::new(None) };
}

/// Runs `poll`, in which no connection uses the runtime. Also returns what the last of them that could not go on waits for: no waker is
/// told of it.
pub(crate) fn poll_here<T>(poll: impl FnOnce() -> T) -> (T, Option<Wait>) {
    /// Also if `poll` panics.
    struct Leave;

    impl Drop for Leave {
        fn drop(&mut self) {
            IS_HERE.set(false);
        }
    }

    IS_HERE.set(true);
    WAIT.set(None);
    let leave = Leave;
    let polled = poll();
    drop(leave);
    (polled, WAIT.take())
}

#[derive(Debug)]
pub(crate) struct LocalStream(Option<Socket>);

#[derive(Debug)]
enum Socket {
    /// Not registered anywhere.
    Bare(UnixStream),
    /// Registered with the runtime.
    Registered(tokio::net::UnixStream),
}

impl LocalStream {
    /// The socket must not block.
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self(Some(Socket::Bare(socket)))
    }

    fn bare(&mut self) -> io::Result<&mut UnixStream> {
        if let Some(Socket::Registered(_)) = self.0
            && let Some(Socket::Registered(socket)) = self.0.take()
        {
            self.0 = Some(Socket::Bare(socket.into_std()?));
        }
        match &mut self.0 {
            Some(Socket::Bare(socket)) => Ok(socket),
            Some(Socket::Registered(_)) | None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn registered(&mut self) -> io::Result<Pin<&mut tokio::net::UnixStream>> {
        if let Some(Socket::Bare(_)) = self.0
            && let Some(Socket::Bare(socket)) = self.0.take()
        {
            self.0 = Some(Socket::Registered(tokio::net::UnixStream::from_std(socket)?));
        }
        match &mut self.0 {
            Some(Socket::Registered(socket)) => Ok(Pin::new(socket)),
            Some(Socket::Bare(_)) | None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Calls `attempt`, or notes that the main thread is to wait.
    fn attempt<T>(
        &mut self,
        wait: fn(RawFd) -> Wait,
        mut attempt: impl FnMut(&mut UnixStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let socket = self.bare()?;
        loop {
            match attempt(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    WAIT.set(Some(wait(socket.as_raw_fd())));
                    return Poll::Pending;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !IS_HERE.get() {
            return self.registered()?.poll_read(context, buffer);
        }
        let length = buffer.remaining().min(PIECE);
        self.attempt(Wait::Readable, |socket| {
            let read = socket.read(buffer.initialize_unfilled_to(length))?;
            buffer.advance(read);
            Ok(())
        })
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !IS_HERE.get() {
            return self.registered()?.poll_write(context, bytes);
        }
        self.attempt(Wait::Writable, |socket| socket.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !IS_HERE.get() {
            return self.registered()?.poll_write_vectored(context, pieces);
        }
        self.attempt(Wait::Writable, |socket| socket.write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has no buffer of its own.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.bare()?.shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests;
