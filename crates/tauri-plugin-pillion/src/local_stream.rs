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

/// The most that one poll reads on the main thread, in bytes. A parser may read as long as bytes come, as of interim responses (RFC 9110,
/// section 15.2), and the window would wait for it; the runtime lets a task read a part, too.
const POLL_READ_LIMIT: usize = 8 * PIECE;

/// What a poll on the main thread came to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Readable(RawFd),
    Writable(RawFd),
}

thread_local! {
    /// How many bytes may be read still, while [`poll_here`] polls.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    static WAIT: Cell<Option<Wait>> = const { Cell::new(None) };
}

/// Runs `poll`, in which no connection uses the runtime. Also returns what the last of them that could not go on waits for: no waker is
/// told of it. `None` also after a read of [`POLL_READ_LIMIT`] bytes: then the runtime is to poll.
pub(crate) fn poll_here<T>(poll: impl FnOnce() -> T) -> (T, Option<Wait>) {
    /// Also if `poll` panics.
    struct Leave;

    impl Drop for Leave {
        fn drop(&mut self) {
            LEFT.set(None);
        }
    }

    LEFT.set(Some(POLL_READ_LIMIT));
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
        attempt: impl FnMut(&mut UnixStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let socket = self.bare()?;
        let fd = socket.as_raw_fd();
        now(socket, attempt).map_or_else(
            || {
                WAIT.set(Some(wait(fd)));
                Poll::Pending
            },
            Poll::Ready,
        )
    }
}

/// Calls `attempt`. `None` if it would have to wait.
fn now<T>(
    socket: &mut UnixStream,
    mut attempt: impl FnMut(&mut UnixStream) -> io::Result<T>,
) -> Option<io::Result<T>> {
    loop {
        match attempt(socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return Some(done),
        }
    }
}

/// Reads at most so many bytes, and returns how many.
fn read(mut socket: &UnixStream, buffer: &mut ReadBuf<'_>, most: usize) -> io::Result<usize> {
    let length = buffer.remaining().min(most);
    let read = socket.read(buffer.initialize_unfilled_to(length))?;
    buffer.advance(read);
    Ok(read)
}

impl AsyncRead for LocalStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(left) = LEFT.get() else {
            // The runtime learns only later what is there already: the end of the connection, or an answer to no request.
            if let Some(Socket::Bare(socket)) = &mut self.0
                && let Some(done) = now(socket, |socket| read(socket, buffer, PIECE))
            {
                self.registered()?;
                return Poll::Ready(done.map(drop));
            }
            return self.registered()?.poll_read(context, buffer);
        };
        if left == 0 {
            return Poll::Pending;
        }
        let polled = self.attempt(Wait::Readable, |socket| read(socket, buffer, left.min(PIECE)));
        polled.map_ok(|read| LEFT.set(Some(left - read)))
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if LEFT.get().is_none() {
            return self.registered()?.poll_write(context, bytes);
        }
        self.attempt(Wait::Writable, |socket| socket.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if LEFT.get().is_none() {
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
