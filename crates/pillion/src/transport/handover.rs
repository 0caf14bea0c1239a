//! The listener that is bound once and handed to each run, so that it outlives a crash: whoever connects in between waits in
//! its queue for the next run. By systemd's convention (`sd_listen_fds(3)`).
//!
//! On Windows no listener can be handed over. What stands in the place of a socket there is the name of a pipe, which the run
//! creates; it is another one in each run, so that nobody can have taken it.

use std::{
    net::{Ipv4Addr, TcpListener},
    num::NonZeroU16,
};

use pillion_protocol::ListenAddr;

use crate::{listener::Listener, spec::Transport, transport::connector::Connector};

/// The listener of one sidecar. It is open while there is, or is about to be, a run to serve it.
#[derive(Debug)]
pub(crate) struct Handover {
    transport: Transport,
    listener: Option<Listener>,
    /// Where it is, or was.
    connector: Option<Connector>,
    /// Whether the last run listened on it, as its announcement showed.
    taken: bool,
}

impl Handover {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport, listener: None, connector: None, taken: false }
    }

    /// The listener for the next run: the one there is, or a new one, on the port of the last one if nobody took that.
    /// A pipe is a new one always. Nothing where the system has none; the sidecar then finds a port by itself.
    pub(crate) fn offer(&mut self) -> Option<Listener> {
        // The name of a pipe is for one run: by the next one, others know it.
        #[cfg(windows)]
        if let Some(Listener::NamedPipe(_)) = self.listener {
            self.close();
        }
        if self.listener.is_none() {
            let bound = match (self.transport, &self.connector) {
                (Transport::Tcp, Some(Connector::Tcp(port))) => bind(port.get()).or_else(|| bind(0)),
                (Transport::Tcp, _) => bind(0),
                (Transport::Local, _) => bind_socket(),
            };
            (self.listener, self.connector) = bound.unzip();
        }
        match self.listener.as_ref()? {
            Listener::Tcp(listener) => listener.try_clone().ok().map(Listener::Tcp),
            #[cfg(unix)]
            Listener::Unix(listener) => listener.try_clone().ok().map(Listener::Unix),
            #[cfg(windows)]
            Listener::NamedPipe(name) => Some(Listener::NamedPipe(*name)),
        }
    }

    /// Hears where the run announces to be. To a listener that it did not take nobody is to connect.
    pub(crate) fn announced(&mut self, addr: ListenAddr) -> bool {
        self.taken = self.connector().map(Connector::listen_addr) == Some(addr);
        if !self.taken {
            self.close();
        }
        self.taken
    }

    /// What does not hold where the listener is not taken.
    pub(crate) fn lost(&self) -> &'static str {
        match self.transport {
            Transport::Tcp => "requests fail while it restarts",
            Transport::Local => "it has a port, which every program of this machine reaches",
        }
    }

    /// Nobody is going to serve it: connections are to be refused, and not to wait.
    pub(crate) fn close(&mut self) {
        self.listener = None;
        // A port is taken again; of a socket nothing is to be left.
        self.connector = self.connector.take().filter(|address| address.listen_addr().port().is_some());
        self.taken = false;
    }

    /// How to reach the listener there is.
    pub(crate) fn connector(&self) -> Option<&Connector> {
        self.connector.as_ref().filter(|_| self.listener.is_some())
    }

    /// The port, where a run serves it, or the next one is going to.
    pub(crate) fn port(&self) -> Option<NonZeroU16> {
        self.connector.as_ref().filter(|_| self.taken)?.listen_addr().port()
    }
}

fn bind(port: u16) -> Option<(Listener, Connector)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    let port = NonZeroU16::new(listener.local_addr().ok()?.port())?;
    Some((Listener::Tcp(listener), Connector::Tcp(port)))
}

#[cfg(unix)]
fn bind_socket() -> Option<(Listener, Connector)> {
    match crate::transport::unix_socket::bind() {
        Ok((listener, name)) => Some((Listener::Unix(listener), Connector::Unix(name.into()))),
        Err(error) => {
            tracing::warn!(%error, "no socket could be bound");
            None
        }
    }
}

#[cfg(windows)]
fn bind_socket() -> Option<(Listener, Connector)> {
    match crate::transport::named_pipe::Pipe::fresh() {
        Ok(pipe) => Some((Listener::NamedPipe(pipe.name), Connector::NamedPipe(pipe))),
        Err(error) => {
            tracing::warn!(%error, "no name for a pipe could be chosen");
            None
        }
    }
}
