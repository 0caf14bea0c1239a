//! The client of the named pipe that a sidecar creates on Windows, where a listener cannot be handed over.

use std::{
    io,
    os::windows::io::AsHandle as _,
    sync::{Arc, Weak},
    time::Duration,
};

use pillion_protocol::{PipeName, defaults::PIPE_BUSY_TIMEOUT};
use tokio::{
    net::windows::named_pipe::{ClientOptions, NamedPipeClient},
    time,
};
use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;

use crate::sys::Group;

/// The longest delay between two attempts. The first attempts follow faster.
const MAX_RETRY_DELAY: Duration = Duration::from_millis(32);

/// The pipe of one run.
#[derive(Debug, Clone)]
pub(crate) struct Pipe {
    pub(crate) name: PipeName,
    /// The processes that may serve it. Weak, because the last handle of a job object keeps it alive.
    group: Weak<Group>,
}

impl Pipe {
    /// A pipe with a new random name, which no other program can know, and without processes that may serve it.
    pub(crate) fn fresh() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self { name: PipeName::from_bytes(bytes), group: Weak::new() })
    }

    /// The same pipe, served by these processes.
    pub(crate) fn served_by(&self, group: &Arc<Group>) -> Self {
        Self { name: self.name, group: Arc::downgrade(group) }
    }

    /// Connects. A pipe has no queue: a client that finds no free instance tries again until the time-out. Once the pipe exists, any
    /// program of this user can add an instance to it; the client leaves an instance that is not the sidecar's before it sends
    /// anything.
    ///
    /// The server can identify its client, but cannot impersonate it (`SECURITY_IDENTIFICATION`, the default of tokio).
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionRefused`] if the pipe does not exist any more, [`io::ErrorKind::TimedOut`] if the sidecar has no
    /// free instance.
    pub(crate) async fn connect(&self) -> io::Result<NamedPipeClient> {
        let name = self.name.to_string();
        let open = async {
            let mut delay = Duration::from_millis(1);
            loop {
                match ClientOptions::new().open(&name) {
                    Ok(pipe) if self.is_served(&pipe)? => return Ok(pipe),
                    Ok(_of_another_program) => {}
                    Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY.cast_signed()) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, error));
                    }
                    Err(error) => return Err(error),
                }
                time::sleep(delay).await;
                delay = (delay * 2).min(MAX_RETRY_DELAY);
            }
        };
        let busy = || io::Error::new(io::ErrorKind::TimedOut, "the sidecar has no free instance of its pipe");
        time::timeout(PIPE_BUSY_TIMEOUT, open).await.unwrap_or_else(|_| Err(busy()))
    }

    fn is_served(&self, pipe: &NamedPipeClient) -> io::Result<bool> {
        let ended = || io::Error::new(io::ErrorKind::ConnectionRefused, "the run has ended");
        Ok(self.group.upgrade().ok_or_else(ended)?.serves(pipe.as_handle()))
    }
}
