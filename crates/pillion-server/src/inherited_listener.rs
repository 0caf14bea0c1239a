//! The listener that a host may hand over, by systemd's convention (`sd_listen_fds(3)`): where the sidecar serves is then
//! known before it runs, and stays the same when it is started again. Windows hands no listener over: there the host names a
//! pipe to create.

use std::io;
#[cfg(unix)]
use std::{net::TcpListener, os::unix::net::UnixListener};

#[cfg(windows)]
use pillion_protocol::PipeName;

/// What else the host says about it, which nobody else is to read.
pub(crate) const NAMES: &str = "LISTEN_FDNAMES";

/// What was handed over: a socket that listens, or the way to one, and that no network reaches.
#[derive(Debug)]
pub(crate) enum Handed {
    /// On a port of 127.0.0.1.
    #[cfg(unix)]
    Port(TcpListener),
    /// On a Unix domain socket.
    #[cfg(unix)]
    Socket(UnixListener),
    /// On a named pipe that is to be created.
    #[cfg(windows)]
    Pipe(PipeName),
}

/// Takes it out of the environment, so that no program that this one starts takes it for its own, and has it closed in
/// those. Nothing where there is none, or where it is meant for another process: a parent's variables are inherited.
#[cfg(unix)]
pub(crate) fn take() -> io::Result<Option<Handed>> {
    let meant_for = std::env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok());
    if meant_for != Some(std::process::id()) {
        return Ok(None);
    }
    let mut handed = listenfd::ListenFd::from_env();
    if handed.len() != 1 {
        return Err(unfit("LISTEN_FDS is not 1, and a sidecar listens on one socket"));
    }
    if let Ok(Some(listener)) = handed.take_unix_listener(0) {
        prepare(&listener, "the Unix domain socket")?;
        listener.set_nonblocking(true)?;
        return Ok(Some(Handed::Socket(listener)));
    }
    let Some(listener) = handed.take_tcp_listener(0)? else { return Ok(None) };
    let address = listener.local_addr()?;
    if address.ip() != std::net::Ipv4Addr::LOCALHOST {
        return Err(unfit(format!("it is bound to {address}, and a sidecar listens on 127.0.0.1 alone")));
    }
    prepare(&listener, &format!("the socket at {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(Some(Handed::Port(listener)))
}

/// The pipe that the host named, if it did.
#[cfg(windows)]
pub(crate) fn take() -> io::Result<Option<Handed>> {
    let name = std::env::var_os(pillion_protocol::environment::PIPE).filter(|name| !name.is_empty());
    let Some(name) = name else { return Ok(None) };
    let name = name.to_string_lossy().parse().map_err(unfit)?;
    Ok(Some(Handed::Pipe(name)))
}

#[cfg(unix)]
fn prepare(listener: impl std::os::fd::AsFd, name: &str) -> io::Result<()> {
    // Not there on Apple's systems; what cannot listen fails in the next call.
    #[cfg(not(target_vendor = "apple"))]
    if !rustix::net::sockopt::socket_acceptconn(&listener)? {
        return Err(unfit(format!("{name} does not listen")));
    }
    let _ = name;
    // Whoever connects between two runs waits in this queue: as long a one as tokio's own listeners have.
    Ok(rustix::net::listen(listener, 1024)?)
}

fn unfit(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
