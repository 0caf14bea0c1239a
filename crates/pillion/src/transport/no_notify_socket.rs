//! The socket of `sd_notify(3)` exists on Linux alone: a declaration that needs it is invalid elsewhere.

use std::{convert::Infallible, io, path::PathBuf, time::Duration};

use crate::sys::RunProcesses;

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

/// A message of the run.
#[derive(Debug)]
pub(crate) struct Notification {
    pub(crate) ready: bool,
    pub(crate) stopping: bool,
    pub(crate) status: Option<String>,
    pub(crate) extend: Option<Duration>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "no message comes")]
pub(crate) enum Notified {
    Run(Notification),
    Other(Option<i32>),
}

#[derive(Debug)]
pub(crate) struct Notifications(Infallible);

impl Notifications {
    pub(crate) fn new(socket: NotifySocket, _run: RunProcesses) -> Self {
        match socket.0 {}
    }

    #[expect(clippy::unused_async, reason = "the signature is the same on every system")]
    pub(crate) async fn next(&mut self) -> Notified {
        match self.0 {}
    }
}
