//! The socket of `sd_notify(3)` exists on Linux alone: a declaration that needs it is invalid elsewhere.

use std::{convert::Infallible, io, path::PathBuf};

use crate::{sys::RunProcesses, transport::notification::Notified};

#[derive(Debug)]
pub(crate) struct NotifySocket(Infallible);

impl NotifySocket {
    pub(crate) fn bind() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn path(&self) -> PathBuf {
        match self.0 {}
    }
}

#[derive(Debug)]
pub(crate) struct Notifications(Infallible);

impl Notifications {
    pub(crate) fn new(socket: NotifySocket, _run: RunProcesses) -> Self {
        match socket.0 {}
    }

    pub(crate) fn catch_up(&self) {
        match self.0 {}
    }

    #[expect(clippy::unused_async, reason = "the signature is the same on every system")]
    pub(crate) async fn next(&mut self) -> Notified {
        match self.0 {}
    }
}
