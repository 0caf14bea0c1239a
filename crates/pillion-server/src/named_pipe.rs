//! The named pipe that replaces the local socket on Windows.

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

/// Grants all rights to the owner of the pipe, which is the user that runs the sidecar (S-1-3-4, "owner rights"), and none to
/// other users. The default descriptor lets Everyone read: <https://learn.microsoft.com/en-us/windows/win32/ipc/named-pipe-security-and-access-rights>.
const OWNER_ONLY: &U16CStr = u16cstr!("D:P(A;;GA;;;S-1-3-4)");
/// The size in bytes of the system's buffer in each direction.
const BUFFER: u32 = 64 * 1024;
/// How long to wait after the system had no resources for another instance.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_secs(1);
/// The error for a pipe that may have no further instance: <https://learn.microsoft.com/en-us/windows/win32/debug/system-error-codes--0-499->.
const ERROR_PIPE_BUSY: i32 = 231;

/// A pipe that only clients of this user on this machine can open. It always has an instance for the next client, so the name
/// stays taken while the sidecar runs.
#[derive(Debug)]
pub(crate) struct SameUserListener(PipeListener<Bytes, Bytes>);

impl SameUserListener {
    /// Creates the pipe. Returns [`Error::PipeTaken`] if a pipe with this name exists.
    pub(crate) fn create(name: PipeName) -> Result<Self, Error> {
        let owner_only = SecurityDescriptor::deserialize(OWNER_ONLY).map_err(Error::InheritedListener)?;
        // By default, `interprocess` demands the first instance of the name, and rejects remote clients.
        let options = PipeListenerOptions::new()
            .path(name.to_string())
            .input_buffer_size_hint(BUFFER)
            .output_buffer_size_hint(BUFFER)
            .security_descriptor(Some(owner_only));
        options.create_tokio_duplex().map(Self).map_err(|error| {
            let taken = error.kind() == io::ErrorKind::PermissionDenied
                || error.raw_os_error() == Some(ERROR_PIPE_BUSY);
            if taken { Error::PipeTaken } else { Error::InheritedListener(error) }
        })
    }
}

impl Listener for SameUserListener {
    type Io = PipeConnection;
    type Addr = ();

    async fn accept(&mut self) -> (PipeConnection, ()) {
        loop {
            match self.0.accept().await {
                Ok(stream) => return (PipeConnection(stream), ()),
                Err(error) => {
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The instance of the pipe that serves one client.
///
/// Flushing does nothing, as for a socket: the system already has the written bytes. The stream's own flush would call
/// `FlushFileBuffers`, which waits until the client has read everything, on a thread that delays the end of the runtime.
#[derive(Debug)]
pub(crate) struct PipeConnection(DuplexPipeStream<Bytes>);

impl AsyncRead for PipeConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for PipeConnection {
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

    /// A pipe cannot close one direction only. Dropping the connection closes it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
