//! Why an app cannot be looked at.

use std::{io, path::PathBuf};

use crate::RefusalKind;

/// Why no control socket can be opened or looked for. It never concerns the sidecars, which run without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The directory for the sockets is a symbolic link.
    #[error(
        "{} is a symbolic link, which could lead to a directory of another user: remove it, and Pillion creates a directory",
        .0.display()
    )]
    Link(PathBuf),
    /// It is not a directory.
    #[error("{} is not a directory: remove it, and Pillion creates one", .0.display())]
    NotDirectory(PathBuf),
    /// It belongs to another user.
    #[error(
        "{} belongs to the user with the id {owner}, who could read what is sent to it: remove it as that user or as root, or set \
         XDG_RUNTIME_DIR to a directory of your own",
        .path.display()
    )]
    #[non_exhaustive]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// The id of the user that it belongs to.
        owner: u32,
    },
    /// Other users can open it.
    #[error("other users can open {} (mode {mode:04o}): run `chmod 700 {}`", .path.display(), .path.display())]
    #[non_exhaustive]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Other users can replace it.
    #[error(
        "other users can replace files in {} (mode {mode:04o}): set XDG_RUNTIME_DIR to a directory of your own, or TMPDIR to another one",
        .path.display()
    )]
    #[non_exhaustive]
    ParentOpenToOthers {
        /// The directory that contains it.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The system refused an operation.
    #[error("cannot {action} {}: {source}", .path.display())]
    #[non_exhaustive]
    Io {
        /// What the operation was, such as `create`.
        action: &'static str,
        /// Its file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl ControlError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// Why an app gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The app has ended, or has closed the connection, before its answer was complete.
    #[error("the app has ended")]
    Ended,
    /// The app did not greet, or did not answer, in time.
    #[error("the app does not answer: it may be suspended, or very busy")]
    Silent,
    /// The app speaks another version of the protocol.
    #[error(
        "the app speaks version {0} of the control protocol, and this program version 1: use the `pillion` of the app's version"
    )]
    Version(u32),
    /// The other side does not speak the protocol.
    #[error("the app sent a line that is not an answer: {0}")]
    Malformed(String),
    /// Another user serves the socket.
    #[error("the socket is served by another user")]
    Foreign,
    /// The app refused the request, or the request failed.
    #[error("{message}")]
    #[non_exhaustive]
    Refused {
        /// Why, for programs.
        kind: RefusalKind,
        /// Why, and what to do.
        message: String,
    },
    /// The connection failed.
    #[error("the connection to the app failed: {0}")]
    Io(#[from] io::Error),
}
