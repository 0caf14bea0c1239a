use std::{fmt, io, num::NonZeroU16};

use pillion_protocol::environment::EnvironmentError;

/// What [`serve`](crate::serve) returns; a `main` that returns it exits with 0 or 1.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// Why a sidecar could not start. Nothing was announced when one of these is returned.
///
/// `Debug` prints what `Display` prints, because that is what a reader of stderr sees when `main` returns it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host, or whoever set the variable, gave something unusable.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// An entry of `PILLION_ALLOWED_ORIGINS` that no page can have as its origin, or that would let every page in.
    #[error(
        "PILLION_ALLOWED_ORIGINS names {0:?}, which is no origin: write scheme://host or scheme://host:port"
    )]
    Origin(String),
    /// The router answers `GET /health` itself.
    #[error("the router has its own route for GET {path}, which the sidecar answers: remove or rename it", path = pillion_protocol::health::DEFAULT_PATH)]
    HealthTaken,
    /// Another program listens on the port that `PORT` asks for.
    #[error(
        "port {0} of 127.0.0.1 is taken, perhaps by an earlier run: see who holds it with `{look}`, \
         set PORT to another port, or unset it to let the system choose",
        look = crate::bind::look_up(*.0)
    )]
    PortTaken(NonZeroU16),
    /// The system lets this user not listen on the port that `PORT` asks for.
    #[error(
        "the system refuses port {0} to this user: set PORT to 1024 or above, or unset it to let the system choose"
    )]
    PortForbidden(NonZeroU16),
    /// What `LISTEN_FDS` hands over is no listener, or one that others than this machine reach; or, on Windows, the pipe that
    /// `PILLION_PIPE` names cannot be created.
    #[error("the listener that the host hands over (LISTEN_FDS, PILLION_PIPE) cannot be used: {0}")]
    InheritedListener(#[source] io::Error),
    /// Another program has created the pipe that `PILLION_PIPE` names. Its name is new in each run.
    #[error(
        "another program has created the named pipe that PILLION_PIPE names before this one could, as one does that wants \
         to be taken for it: start this one again, which gives it another name"
    )]
    PipeTaken,
    /// Listening failed for another reason.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(#[source] io::Error),
    /// Stdout took no announcement, so no host can know where the sidecar is.
    #[error("cannot announce itself on stdout: {0}")]
    Announce(#[source] io::Error),
    /// The requests to stop could not be listened for.
    #[error("cannot listen for signals or the end of stdin: {0}")]
    Stop(#[source] io::Error),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
