use std::{fmt, io, num::NonZeroU16};

use pillion_protocol::environment::EnvironmentError;

/// The result of [`serve`](crate::serve). A `main` that returns it exits with 0 or 1.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// Why a sidecar could not start. It has not announced itself when it returns one of these errors.
///
/// `Debug` prints the same text as `Display`, because Rust prints `Debug` to stderr when `main` returns an error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An environment variable of the protocol has an invalid value.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// An entry of `PILLION_ALLOWED_ORIGINS` is not an origin that exactly one site can have.
    #[error(
        "PILLION_ALLOWED_ORIGINS lists {0:?}, which is not an origin: write scheme://host or scheme://host:port"
    )]
    Origin(String),
    /// The router has its own route for `GET /health`.
    #[error("the router has its own route for GET {path}, which the sidecar adds itself: remove or rename it", path = pillion_protocol::health::DEFAULT_PATH)]
    HealthTaken,
    /// Another program listens on the port that `PORT` names.
    #[error(
        "port {0} of 127.0.0.1 is taken, perhaps by an earlier run: `{command}` shows the process that holds it; \
         set PORT to another port, or unset it to let the system choose",
        command = crate::bind::lookup_command(*.0)
    )]
    PortTaken(NonZeroU16),
    /// The system does not let this user listen on the port that `PORT` names.
    #[error("{}", crate::bind::forbidden(*.0, cfg!(windows)))]
    PortForbidden(NonZeroU16),
    /// The inherited descriptor (`LISTEN_FDS`) does not listen, or other machines can reach its address. On Windows, the pipe
    /// that `PILLION_PIPE` names cannot be created.
    #[error("cannot use the listener from the host (LISTEN_FDS, PILLION_PIPE): {0}")]
    InheritedListener(#[source] io::Error),
    /// Another program has created the pipe that `PILLION_PIPE` names.
    #[error(
        "another program has already created the named pipe that PILLION_PIPE names, perhaps to impersonate this one: \
         start the sidecar again, and the host chooses another name"
    )]
    PipeTaken,
    /// Listening on 127.0.0.1 failed for another reason.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(#[source] io::Error),
    /// Writing the announcement to stdout failed, so no host can learn the address.
    #[error("cannot write the announcement to stdout: {0}")]
    Announce(#[source] io::Error),
    /// The sidecar cannot watch for signals or for the end of stdin, so it could not be stopped.
    #[error("cannot watch for signals or the end of stdin: {0}")]
    Stop(#[source] io::Error),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
