//! The listener that is bound once and handed to each run, so that it outlives a crash: whoever connects in between waits in
//! its queue for the next run. By systemd's convention (`sd_listen_fds(3)`).
//!
//! On Windows no listener can be handed over. What stands in the place of a socket there is the name of a pipe, which the run
//! creates; it is another one in each run, so that nobody can have taken it.

use std::{
    net::{Ipv4Addr, TcpListener},
    num::NonZeroU16,
};

use pillion_protocol::Place;

use crate::{address::Address, spec::Transport};

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum Listener {
    /// On a port of 127.0.0.1.
    Port(TcpListener),
    /// On a Unix domain socket.
    #[cfg(unix)]
    Socket(std::os::unix::net::UnixListener),
    /// On a pipe that is not there yet.
    #[cfg(windows)]
    Pipe(pillion_protocol::PipeName),
}

impl Listener {
    /// The variable by which the run is told of it, where it is nothing that could be handed over.
    pub(crate) fn variable(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Port(_) => None,
            #[cfg(unix)]
            Self::Socket(_) => None,
            #[cfg(windows)]
            Self::Pipe(name) => Some((pillion_protocol::environment::PIPE, name.to_string())),
        }
    }
}

/// The listener of one sidecar. It is open while there is, or is about to be, a run to serve it.
#[derive(Debug)]
pub(crate) struct Handover {
    transport: Transport,
    listener: Option<Listener>,
    /// Where it is, or was.
    address: Option<Address>,
    /// Whether the last run listened on it, as its announcement showed.
    taken: bool,
}

impl Handover {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport, listener: None, address: None, taken: false }
    }

    /// The listener for the next run: the one there is, or a new one, on the port of the last one if nobody took that.
    /// A pipe is a new one always. Nothing where the system has none; the sidecar then finds a port by itself.
    pub(crate) fn offer(&mut self) -> Option<Listener> {
        // The name of a pipe is for one run: by the next one, others know it.
        #[cfg(windows)]
        if let Some(Listener::Pipe(_)) = self.listener {
            self.close();
        }
        if self.listener.is_none() {
            let bound = match (self.transport, &self.address) {
                (Transport::Tcp, Some(Address::Port(port))) => bind(port.get()).or_else(|| bind(0)),
                (Transport::Tcp, _) => bind(0),
                (Transport::Socket, _) => bind_socket(),
            };
            (self.listener, self.address) = bound.unzip();
        }
        match self.listener.as_ref()? {
            Listener::Port(listener) => listener.try_clone().ok().map(Listener::Port),
            #[cfg(unix)]
            Listener::Socket(listener) => listener.try_clone().ok().map(Listener::Socket),
            #[cfg(windows)]
            Listener::Pipe(name) => Some(Listener::Pipe(*name)),
        }
    }

    /// Hears where the run announces to be. To a listener that it did not take nobody is to connect.
    pub(crate) fn announced(&mut self, place: Place) -> bool {
        self.taken = self.address().map(Address::place) == Some(place);
        if !self.taken {
            self.close();
        }
        self.taken
    }

    /// What does not hold where the listener is not taken.
    pub(crate) fn lost(&self) -> &'static str {
        match self.transport {
            Transport::Tcp => "requests fail while it restarts",
            Transport::Socket => "it has a port, which every program of this machine reaches",
        }
    }

    /// Nobody is going to serve it: connections are to be refused, and not to wait.
    pub(crate) fn close(&mut self) {
        self.listener = None;
        // A port is taken again; of a socket nothing is to be left.
        self.address = self.address.take().filter(|address| address.place().port().is_some());
        self.taken = false;
    }

    /// How to reach the listener there is.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.address.as_ref().filter(|_| self.listener.is_some())
    }

    /// The port, where a run serves it, or the next one is going to.
    pub(crate) fn port(&self) -> Option<NonZeroU16> {
        self.address.as_ref().filter(|_| self.taken)?.place().port()
    }
}

fn bind(port: u16) -> Option<(Listener, Address)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    let port = NonZeroU16::new(listener.local_addr().ok()?.port())?;
    Some((Listener::Port(listener), Address::Port(port)))
}

#[cfg(unix)]
fn bind_socket() -> Option<(Listener, Address)> {
    match crate::socket::bind() {
        Ok((listener, name)) => Some((Listener::Socket(listener), Address::Socket(name.into()))),
        Err(error) => {
            tracing::warn!(%error, "no socket could be bound");
            None
        }
    }
}

#[cfg(windows)]
fn bind_socket() -> Option<(Listener, Address)> {
    match crate::pipe::Pipe::fresh() {
        Ok(pipe) => Some((Listener::Pipe(pipe.name), Address::Pipe(pipe))),
        Err(error) => {
            tracing::warn!(%error, "no name for a pipe could be chosen");
            None
        }
    }
}
