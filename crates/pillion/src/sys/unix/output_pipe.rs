//! The pipes that carry a sidecar's output.

use std::{io, os::fd::OwnedFd};

use tokio::net::unix::pipe::Receiver;

/// The read end of a pipe.
#[derive(Debug)]
pub(crate) struct OutputPipe(Receiver);

impl OutputPipe {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Receiver::from_owned_fd(fd).map(Self)
    }

    /// Waits until there are bytes to read, or the end. An error means that the runtime shuts down. Cancel-safe.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        self.0.readable().await
    }

    /// Reads available bytes; `None` if there are none. Returns 0 at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match self.0.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            result => Some(result),
        }
    }

    /// Waits for nothing: [`read_now`](Self::read_now) knows at once.
    pub(crate) async fn readable_now(&mut self) {}

    /// Reads available bytes; `None` if there are none. Asks the kernel, not the runtime: the runtime may not know yet that a child wrote
    /// and died.
    pub(crate) fn read_now(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut *buffer)) {
            Err(rustix::io::Errno::AGAIN) => None,
            result => Some(result.map_err(Into::into)),
        }
    }
}
