//! The named pipe that a sidecar creates on Windows, where no listener can be handed over.

use std::{io, time::Duration};

use pillion_protocol::PipeName;
use tokio::{
    net::windows::named_pipe::{ClientOptions, NamedPipeClient},
    time,
};
use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;

/// How long a server may take to have an instance of its pipe for the next client. It takes one that works microseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest pause between attempts; the first ones follow faster.
const PAUSE: Duration = Duration::from_millis(32);

/// A name that nobody else knows yet, and so nobody else can have taken.
pub(crate) fn fresh_name() -> Result<PipeName, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(PipeName::from_bytes(bytes))
}

/// Connects. A pipe has no queue of clients: one that comes while no instance is free asks again, for as long as a server that
/// works would need.
///
/// The server may learn who its client is, and may not act in its name (`SECURITY_IDENTIFICATION`, tokio's default).
///
/// # Errors
/// [`io::ErrorKind::ConnectionRefused`] where there is no such pipe, [`io::ErrorKind::TimedOut`] where it stays busy.
pub(crate) async fn connect(name: PipeName) -> io::Result<NamedPipeClient> {
    let name = name.to_string();
    let open = async {
        let mut pause = Duration::from_millis(1);
        loop {
            match ClientOptions::new().open(&name) {
                Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY.cast_signed()) => {
                    time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(io::Error::new(io::ErrorKind::ConnectionRefused, error));
                }
                opened => return opened,
            }
        }
    };
    let busy = || io::Error::new(io::ErrorKind::TimedOut, "all instances of the pipe are busy");
    time::timeout(PATIENCE, open).await.unwrap_or_else(|_| Err(busy()))
}
