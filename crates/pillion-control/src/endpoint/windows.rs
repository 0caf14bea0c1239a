//! A named pipe that only this user can open.

use std::{fs, io};

use interprocess::os::windows::{
    named_pipe::{
        PipeListenerOptions,
        pipe_mode::Bytes,
        tokio::{DuplexPipeStream, PipeListener, PipeListenerOptionsExt as _},
    },
    security_descriptor::SecurityDescriptor,
};
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

/// Connects. Returns [`io::ErrorKind::NotFound`] if the app has ended, and [`io::ErrorKind::PermissionDenied`] if the pipe belongs to another
/// user, or if another process than the named one serves it: any program of this user can add an instance to a pipe.
pub(crate) async fn connect(address: &Address) -> io::Result<Stream> {
    let stream = Stream::connect_by_path(address.name.as_str()).await?;
    if stream.server_process_id()? == address.pid {
        Ok(stream)
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}
