//! Socket activation: the supervisor binds a listener once and hands it to each run, by systemd's convention
//! (`sd_listen_fds(3)`). The listener survives a crash; a client that connects between two runs waits in its queue.
//!
//! Windows cannot hand over a listener. There the run receives the name of a pipe and creates the pipe. Each run has a new name, so
//! that no other program can create the pipe first.

use std::{
    net::{Ipv4Addr, TcpListener},
    num::NonZeroU16,
};

use pillion_protocol::ListenAddr;

use crate::{listener::Listener, spec::Transport, transport::connector::Connector};

/// The listener of one sidecar. It is open while a run serves it, or will serve it.
#[derive(Debug)]
pub(crate) struct Handover {
    transport: Transport,
    listener: Option<Listener>,
    /// How to reach the present or last listener.
    connector: Option<Connector>,
    /// Whether the last run was offered a listener.
    offered: bool,
    /// Whether the last run announced this listener.
    taken: bool,
}

impl Handover {
    pub(crate) fn new(transport: Transport) -> Self {
        Self { transport, listener: None, connector: None, offered: false, taken: false }
    }

    /// Whether a run that takes the listener of one also takes that of the other.
    pub(crate) fn same_kind(&self, other: &Self) -> bool {
        self.transport == other.transport
    }

    /// The listener for the next run: the open one, or a new one, if possible on the same port. A pipe is always new. `None` if the
    /// system cannot bind one, or hand it over; then the sidecar chooses a port itself.
    pub(crate) fn offer(&mut self) -> Option<Listener> {
        let listener = can_hand_over(self.transport, cfg!(windows)).then(|| self.listener()).flatten();
        self.offered = listener.is_some();
        listener
    }

    fn listener(&mut self) -> Option<Listener> {
        // Other programs can list the name of a pipe once it exists, so each run needs a new name.
        #[cfg(windows)]
        if let Some(Listener::NamedPipe(_)) = self.listener {
            self.close();
        }
        // Clients find a socket only by its file.
        #[cfg(unix)]
        if let Some(Connector::Unix(name)) = &self.connector
            && !name.exists()
        {
            self.close();
        }
        #[cfg(unix)]
        if self.listener.as_ref().is_some_and(|listener| !listens(listener)) {
            tracing::warn!(
                "a run has shut down the listener that it was handed, instead of closing it: the next run gets a new one"
            );
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

    /// Takes note of the announced address, and returns whether it is that of the listener. Closes a listener that the run did not
    /// take, so that no client waits in its queue.
    pub(crate) fn announced(&mut self, addr: ListenAddr) -> bool {
        self.taken = self.connector().map(Connector::listen_addr) == Some(addr);
        if !self.taken {
            self.close();
        }
        self.taken
    }

    /// Whether the last run was offered a listener.
    pub(crate) fn was_offered(&self) -> bool {
        self.offered
    }

    /// Whether the listener is a port.
    pub(crate) fn expects_port(&self) -> bool {
        self.transport == Transport::Tcp
    }

    /// What the user loses if the run did not take the listener.
    pub(crate) fn lost(&self) -> &'static str {
        match self.transport {
            Transport::Tcp => "requests fail while it restarts",
            Transport::Local => "it has a port, which every program of this machine can reach",
        }
    }

    /// Closes the listener, because no run will serve it: clients must be refused instead of waiting.
    pub(crate) fn close(&mut self) {
        self.listener = None;
        // The next run gets the same port. Nothing is kept of a local socket.
        self.connector = self.connector.take().filter(|connector| connector.listen_addr().port().is_some());
        self.taken = false;
    }

    /// How to reach the open listener.
    pub(crate) fn connector(&self) -> Option<&Connector> {
        self.connector.as_ref().filter(|_| self.listener.is_some())
    }

    /// The port that a run serves or the next run will serve.
    pub(crate) fn port(&self) -> Option<NonZeroU16> {
        self.connector.as_ref().filter(|_| self.taken)?.listen_addr().port()
    }
}

/// Whether the system can pass a listener to another program. Windows has the names of pipes instead.
fn can_hand_over(transport: Transport, windows: bool) -> bool {
    !windows || transport == Transport::Local
}

/// Whether the listener still listens. A run can end that for every holder, which rule 6 of the protocol forbids (shutdown(2)).
#[cfg(unix)]
fn listens(listener: &Listener) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let ended = PollFlags::HUP | PollFlags::ERR;
    #[cfg(target_os = "linux")]
    let ended = ended | PollFlags::RDHUP;
    let mut fds = [PollFd::new(listener, ended)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_err() || !fds[0].revents().intersects(ended)
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
            tracing::warn!(%error, "cannot bind a local socket");
            None
        }
    }
}

#[cfg(windows)]
fn bind_socket() -> Option<(Listener, Connector)> {
    match crate::transport::named_pipe::Pipe::fresh() {
        Ok(pipe) => Some((Listener::NamedPipe(pipe.name), Connector::NamedPipe(pipe))),
        Err(error) => {
            tracing::warn!(%error, "cannot choose the name of a pipe");
            None
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::net::UnixStream};

    use super::*;
    use crate::transport::unix_socket::tests::bind_file;

    #[test]
    fn a_port_is_handed_over_where_the_system_can() {
        assert!(can_hand_over(Transport::Tcp, false));
        assert!(!can_hand_over(Transport::Tcp, true));
        assert!(can_hand_over(Transport::Local, true));
    }

    #[test]
    fn a_listener_that_a_run_has_shut_down_is_bound_again_for_the_next_run() {
        use rustix::net::{Shutdown, shutdown};
        for (transport, how) in [Transport::Tcp, Transport::Local]
            .into_iter()
            .flat_map(|it| [(it, Shutdown::Both), (it, Shutdown::Read)])
        {
            let mut handover = Handover::new(transport);
            let run = handover.offer().unwrap();
            let port = handover.connector().unwrap().listen_addr().port();
            shutdown(&run, how).unwrap();
            drop(run);
            handover.offer().unwrap();
            assert!(listens(handover.listener.as_ref().unwrap()), "{transport:?} {how:?}");
            assert_eq!(handover.connector().unwrap().listen_addr().port(), port);
        }
    }

    #[test]
    fn a_socket_whose_file_was_deleted_is_bound_again_for_the_next_run() {
        let (listener, name, file) = bind_file();
        let mut handover = Handover::new(Transport::Local);
        handover.listener = Some(Listener::Unix(listener));
        handover.connector = Some(Connector::Unix(name.into()));
        handover.offer().unwrap();
        assert!(matches!(handover.connector(), Some(Connector::Unix(name)) if name.path() == file));

        fs::remove_file(&file).unwrap();
        handover.offer().unwrap();
        let Some(Connector::Unix(name)) = handover.connector() else { panic!("it has no socket") };
        assert_ne!(name.path(), file);
        UnixStream::connect(name.path()).unwrap();
    }
}
