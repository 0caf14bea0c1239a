//! Socket activation: takes the listener that the host passes to the sidecar, by systemd's convention (`sd_listen_fds(3)`).
//! The listen address is then known before the sidecar runs, and survives its restart. On Windows a process cannot inherit a
//! listener: there the host names a pipe, which the sidecar creates.

use std::io;
#[cfg(unix)]
use std::{net::TcpListener, os::unix::net::UnixListener};

#[cfg(windows)]
use pillion_protocol::PipeName;

/// A variable of the convention that this crate does not use, but removes with the others.
pub(crate) const NAMES: &str = "LISTEN_FDNAMES";

/// A listener from the host, or the name of the pipe to create. No network reaches either.
#[derive(Debug)]
pub(crate) enum InheritedListener {
    /// A listener on a port of 127.0.0.1.
    #[cfg(unix)]
    Tcp(TcpListener),
    /// A listener on a Unix domain socket.
    #[cfg(unix)]
    Unix(UnixListener),
    /// The name of the pipe to create.
    #[cfg(windows)]
    NamedPipe(PipeName),
}

/// Whether the host passes a listener to this process, so that `PORT` does not count. False if `LISTEN_PID` names another
/// process: children inherit their parent's variables.
#[cfg(unix)]
pub(crate) fn is_offered() -> bool {
    std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string())
}

/// Takes the listener and removes its variables from the environment, so that child processes inherit neither. Returns `None`
/// if there is no listener for this process.
#[cfg(unix)]
pub(crate) fn take() -> io::Result<Option<InheritedListener>> {
    if !is_offered() {
        return Ok(None);
    }
    // Parsing would accept `+1` and `01`, which the protocol does not allow.
    if std::env::var_os("LISTEN_FDS").is_none_or(|count| count != "1") {
        return Err(invalid("LISTEN_FDS is not 1: a sidecar takes exactly one listener"));
    }
    let mut inherited = listenfd::ListenFd::from_env();
    if let Ok(Some(listener)) = inherited.take_unix_listener(0) {
        prepare(&listener, "the Unix domain socket")?;
        listener.set_nonblocking(true)?;
        return Ok(Some(InheritedListener::Unix(listener)));
    }
    let Some(listener) = inherited.take_tcp_listener(0)? else { return Ok(None) };
    let address = listener.local_addr()?;
    if address.ip() != std::net::Ipv4Addr::LOCALHOST {
        return Err(invalid(format!("it is bound to {address}: a sidecar listens on 127.0.0.1 only")));
    }
    prepare(&listener, &format!("the socket at {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(Some(InheritedListener::Tcp(listener)))
}

/// Whether the host names a pipe, so that `PORT` does not count.
#[cfg(windows)]
pub(crate) fn is_offered() -> bool {
    pipe_name().is_some()
}

#[cfg(windows)]
fn pipe_name() -> Option<std::ffi::OsString> {
    std::env::var_os(pillion_protocol::environment::PIPE).filter(|name| !name.is_empty())
}

/// The name of the pipe that the host chose, if it chose one.
#[cfg(windows)]
pub(crate) fn take() -> io::Result<Option<InheritedListener>> {
    let Some(name) = pipe_name() else { return Ok(None) };
    let name = name.to_string_lossy().parse().map_err(invalid)?;
    Ok(Some(InheritedListener::NamedPipe(name)))
}

#[cfg(unix)]
fn prepare(listener: impl std::os::fd::AsFd, name: &str) -> io::Result<()> {
    // Apple's systems lack this option. There, a socket that cannot listen fails in `listen` below.
    #[cfg(not(target_vendor = "apple"))]
    if !rustix::net::sockopt::socket_acceptconn(&listener)? {
        return Err(invalid(format!("{name} does not listen")));
    }
    let _ = name;
    // Connections made between two runs wait in this queue. It has the length that tokio gives its own listeners.
    Ok(rustix::net::listen(listener, 1024)?)
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
