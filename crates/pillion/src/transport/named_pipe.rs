//! The named pipe that a sidecar creates on Windows, where no listener can be handed over.

use std::{
    io,
    os::windows::io::AsHandle as _,
    sync::{Arc, Weak},
    time::Duration,
};

use pillion_protocol::PipeName;
use tokio::{
    net::windows::named_pipe::{ClientOptions, NamedPipeClient},
    time,
};
use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;

use crate::sys::Group;

/// How long a server may take to have an instance of its pipe for the next client. It takes one that works microseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest pause between attempts; the first ones follow faster.
const PAUSE: Duration = Duration::from_millis(32);

/// The way to the pipe of one run.
#[derive(Debug, Clone)]
pub(crate) struct Pipe {
    pub(crate) name: PipeName,
    /// Who may serve it. Not held: a job ends with its last handle.
    group: Weak<Group>,
}

impl Pipe {
    /// A name that nobody else knows yet, and so nobody else can have taken; and nobody yet who may serve it.
    pub(crate) fn fresh() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self { name: PipeName::from_bytes(bytes), group: Weak::new() })
    }

    /// The same, served by these processes.
    pub(crate) fn of(&self, group: &Arc<Group>) -> Self {
        Self { name: self.name, group: Arc::downgrade(group) }
    }

    /// Connects. A pipe has no queue of clients: one that comes while no instance is free asks again, for as long as a server
    /// that works would need. A name is no secret once the pipe is there, and any program of this user may add an instance: one
    /// that is not the sidecar's is left before anything is said.
    ///
    /// The server may learn who its client is, and may not act in its name (`SECURITY_IDENTIFICATION`, tokio's default).
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionRefused`] where there is no such pipe any more, [`io::ErrorKind::TimedOut`] where the sidecar
    /// has no instance to spare.
    pub(crate) async fn connect(&self) -> io::Result<NamedPipeClient> {
        let name = self.name.to_string();
        let open = async {
            let mut pause = Duration::from_millis(1);
            loop {
                match ClientOptions::new().open(&name) {
                    Ok(pipe) if self.is_served(&pipe)? => return Ok(pipe),
                    Ok(_strangers) => {}
                    Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY.cast_signed()) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, error));
                    }
                    Err(error) => return Err(error),
                }
                time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE);
            }
        };
        let busy = || io::Error::new(io::ErrorKind::TimedOut, "it has no instance of its pipe to spare");
        time::timeout(PATIENCE, open).await.unwrap_or_else(|_| Err(busy()))
    }

    fn is_served(&self, pipe: &NamedPipeClient) -> io::Result<bool> {
        let over = || io::Error::new(io::ErrorKind::ConnectionRefused, "its run is over");
        Ok(self.group.upgrade().ok_or_else(over)?.serves(pipe.as_handle()))
    }
}
