//! The named pipe that stands in the place of a socket on Windows.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use interprocess::os::windows::{
    named_pipe::{
        PipeListenerOptions,
        pipe_mode::Bytes,
        tokio::{DuplexPipeStream, PipeListener},
    },
    security_descriptor::SecurityDescriptor,
};
use pillion_protocol::PipeName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use widestring::{U16CStr, u16cstr};

use crate::Error;

/// Everything to the pipe's owner, who is the user that runs the sidecar (S-1-3-4, "owner rights"), and nothing to anybody else.
/// Without it, Everyone may read: <https://learn.microsoft.com/en-us/windows/win32/ipc/named-pipe-security-and-access-rights>.
const OWNER_ALONE: &U16CStr = u16cstr!("D:P(A;;GA;;;S-1-3-4)");
/// What the system keeps of what one side has written and the other has not read yet, in bytes.
const BUFFER: u32 = 64 * 1024;
/// How long to wait for the system to have the resources for another instance again.
const PAUSE: Duration = Duration::from_secs(1);
/// Of a pipe that is to have no further instance: <https://learn.microsoft.com/en-us/windows/win32/debug/system-error-codes--0-499->.
const ERROR_PIPE_BUSY: i32 = 231;

/// A pipe that clients of this user on this machine can open. There is always an instance for the next one, so that the
/// name is never free while the sidecar runs.
#[derive(Debug)]
pub(crate) struct SameUserListener(PipeListener<Bytes, Bytes>);

impl SameUserListener {
    /// Creates the pipe, or says that there is one of this name already.
    pub(crate) fn create(name: PipeName) -> Result<Self, Error> {
        let owner_alone = SecurityDescriptor::deserialize(OWNER_ALONE).map_err(Error::InheritedListener)?;
        // Unless said otherwise, the first instance has to be the first of its name, and remote clients are rejected.
        let options = PipeListenerOptions::new()
            .path(name.to_string())
            .input_buffer_size_hint(BUFFER)
            .output_buffer_size_hint(BUFFER)
            .security_descriptor(Some(owner_alone));
        options.create_tokio_duplex().map(Self).map_err(|error| {
            let taken = error.kind() == io::ErrorKind::PermissionDenied
                || error.raw_os_error() == Some(ERROR_PIPE_BUSY);
            if taken { Error::PipeTaken } else { Error::InheritedListener(error) }
        })
    }
}

impl Listener for SameUserListener {
    type Io = Connection;
    type Addr = ();

    async fn accept(&mut self) -> (Connection, ()) {
        loop {
            match self.0.accept().await {
                Ok(stream) => return (Connection(stream), ()),
                Err(error) => {
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// One client's instance of the pipe.
///
/// To flush it does nothing, as with a socket: what is written is on its way. `FlushFileBuffers`, which the stream would have
/// called, waits until the client has read everything, on a thread that the end of the runtime waits for.
#[derive(Debug)]
pub(crate) struct Connection(DuplexPipeStream<Bytes>);

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A pipe cannot be closed in one direction alone; it is closed when this is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
