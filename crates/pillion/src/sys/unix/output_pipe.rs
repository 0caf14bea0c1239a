//! The pipes that a sidecar writes to.

use std::{io, os::fd::OwnedFd};

use tokio::net::unix::pipe::Receiver;

/// The reading end of a pipe.
#[derive(Debug)]
pub(crate) struct OutputPipe(Receiver);

impl OutputPipe {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        Receiver::from_owned_fd(fd).map(Self)
    }

    /// Reads what is there, and waits where nothing is. 0 is the end. Nothing is lost when it is dropped.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.0.readable().await?;
            match self.0.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Reads what is there without waiting: `None` where nothing is. It asks the kernel and not the runtime, whose
    /// knowledge may lag behind a child that wrote and died.
    pub(crate) async fn read_now(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match rustix::io::read(&self.0, buffer) {
            Err(rustix::io::Errno::AGAIN) => None,
            result => Some(result.map_err(Into::into)),
        }
    }
}
