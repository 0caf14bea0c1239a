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

    /// Reads available bytes, or waits for some. Returns 0 at the end. Cancel-safe: a dropped future loses no bytes.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.0.readable().await?;
            match self.0.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Reads available bytes without waiting; `None` if the pipe is empty. Asks the kernel, not the runtime: the runtime may
    /// not know yet that a child wrote and died.
    pub(crate) async fn read_now(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match rustix::io::read(&self.0, buffer) {
            Err(rustix::io::Errno::AGAIN) => None,
            result => Some(result.map_err(Into::into)),
        }
    }
}
