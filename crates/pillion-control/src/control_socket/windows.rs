//! A named pipe that only this user can open.

use std::{
    fs::{self, OpenOptions},
    io,
    os::windows::{fs::OpenOptionsExt as _, io::OwnedHandle},
    time::Duration,
};

use interprocess::os::windows::{
    named_pipe::{
        PipeListenerOptions,
        pipe_mode::Bytes,
        tokio::{DuplexPipeStream, PipeListener},
    },
    security_descriptor::SecurityDescriptor,
};
use tokio::time;
use widestring::{U16CStr, u16cstr};

use super::{pid_of, random};
use crate::ControlError;

/// Where the system lists the names of pipes.
const PIPES: &str = r"\\.\pipe\";
const PREFIX: &str = "pillion-control-";
/// Grants all rights to the owner of the pipe (S-1-3-4, "owner rights"), and none to other users. The default lets Everyone read:
/// <https://learn.microsoft.com/en-us/windows/win32/ipc/named-pipe-security-and-access-rights>.
const OWNER_ONLY: &U16CStr = u16cstr!("D:P(A;;GA;;;S-1-3-4)");
/// The size in bytes of the system's buffer in each direction.
const BUFFER: u32 = 64 * 1024;

/// For a handle that tokio can use:
/// <https://learn.microsoft.com/en-us/windows/win32/api/fileapi/nf-fileapi-createfilew>.
const FILE_FLAG_OVERLAPPED: u32 = 0x4000_0000;
/// The server may learn who the client is, and not act as the client. Without it, the server may act as the client. The standard library
/// adds `SECURITY_SQOS_PRESENT`.
const SECURITY_IDENTIFICATION: u32 = 0x0001_0000;
/// All instances of the pipe have a client, and the app has not yet made the next one.
const ERROR_PIPE_BUSY: i32 = 231;
/// How long to wait for an instance of the pipe.
const BUSY_DELAY: Duration = Duration::from_millis(20);

pub(crate) type Stream = DuplexPipeStream<Bytes>;

/// Where an app may answer.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) pid: u32,
    name: String,
}

impl Address {
    /// Does nothing: the system removes a pipe with its last handle.
    #[expect(clippy::unused_self, reason = "the signature is the same on every system")]
    pub(crate) fn remove(&self) {}
}

/// The pipe of this process. The system removes it with its last handle.
#[derive(Debug)]
pub(crate) struct Listener {
    pipe: PipeListener<Bytes, Bytes>,
    name: String,
}

impl Listener {
    /// # Panics
    /// Outside the context of a tokio runtime.
    pub(crate) fn bind() -> Result<Self, ControlError> {
        let bind = || {
            let name = format!("{PIPES}{PREFIX}{}-{}", std::process::id(), random()?);
            // By default, `interprocess` demands the first instance of the name, and rejects remote clients.
            let pipe = PipeListenerOptions::new()
                .path(name.as_str())
                .input_buffer_size_hint(BUFFER)
                .output_buffer_size_hint(BUFFER)
                .security_descriptor(Some(SecurityDescriptor::deserialize(OWNER_ONLY)?))
                .create_tokio_duplex::<Bytes>()?;
            Ok(Self { pipe, name })
        };
        bind().map_err(ControlError::io("listen on", format!("{PIPES}{PREFIX}{}", std::process::id())))
    }

    /// The name of the pipe, for people.
    pub(crate) fn name(&self) -> String {
        self.name.clone()
    }

    pub(crate) fn address(&self) -> Address {
        Address { pid: std::process::id(), name: self.name.clone() }
    }

    /// The next connection. The security descriptor admits this user alone.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        self.pipe.accept().await
    }

    /// Does nothing: a pipe ends with its process.
    pub(crate) async fn tidy(&self) {}
}

/// The apps that may answer. Every program can list the names of pipes.
pub(crate) async fn addresses() -> (Vec<Address>, Vec<ControlError>) {
    let entries = match fs::read_dir(PIPES) {
        Ok(entries) => entries,
        Err(error) => return (Vec::new(), vec![ControlError::io("list", PIPES)(error)]),
    };
    let address = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        Some(Address { pid: pid_of(name.strip_prefix(PREFIX)?)?, name: format!("{PIPES}{name}") })
    };
    (entries.flatten().filter_map(address).collect(), Vec::new())
}

/// Connects. Returns [`io::ErrorKind::NotFound`] if the app has ended, and [`io::ErrorKind::PermissionDenied`] if the pipe refuses this
/// user, or if another process than the named one serves it: a program that may open a pipe can add an instance to it.
///
/// It does not look at the user of that process: a program of another user can serve a pipe with its own process id in the name, and admit
/// this user. It then learns the request and the user's name; it cannot act as the user.
pub(crate) async fn connect(address: &Address) -> io::Result<Stream> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(FILE_FLAG_OVERLAPPED)
        .security_qos_flags(SECURITY_IDENTIFICATION);
    let file = loop {
        match options.open(&address.name) {
            Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY) => time::sleep(BUSY_DELAY).await,
            opened => break opened?,
        }
    };
    let stream = Stream::try_from(OwnedHandle::from(file))?;
    if stream.server_process_id()? == address.pid {
        Ok(stream)
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pipe_that_another_process_serves_than_its_name_says_is_refused() {
        let listener = Listener::bind().unwrap();
        let own = listener.address();
        let other = Address { pid: own.pid + 1, ..own.clone() };
        let (refused, accepted) = tokio::join!(connect(&other), listener.accept());
        accepted.unwrap();
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let (connected, accepted) = tokio::join!(connect(&own), listener.accept());
        connected.unwrap();
        accepted.unwrap();
    }
}
