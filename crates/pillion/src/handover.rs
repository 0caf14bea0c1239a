//! The listener that is bound once and handed to each run, so that the port outlives a crash: whoever connects in between
//! waits in the listener's queue for the next run. By systemd's convention (`sd_listen_fds(3)`).

use std::{
    net::{Ipv4Addr, TcpListener},
    num::NonZeroU16,
};

/// The listener of one sidecar. It is open while there is, or is about to be, a run to serve it.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    listener: Option<TcpListener>,
    /// The port that it has, or had: the one to take again.
    port: Option<NonZeroU16>,
    /// Whether the last run listened on it, as its announcement showed.
    taken: bool,
}

impl Handover {
    /// The listener for the next run: the one there is, or a new one, on the port of the last one if nobody took that.
    /// Nothing where the system has none; the sidecar then finds a port by itself.
    pub(crate) fn offer(&mut self) -> Option<TcpListener> {
        if self.listener.is_none() {
            self.listener = self.port.and_then(|port| bind(port.get())).or_else(|| bind(0));
            self.port = self
                .listener
                .as_ref()
                .and_then(|listener| NonZeroU16::new(listener.local_addr().ok()?.port()));
        }
        self.listener.as_ref()?.try_clone().ok()
    }

    /// Hears the port that the run announces. Of a listener that it did not take nobody is to connect to.
    pub(crate) fn announced(&mut self, port: NonZeroU16) -> bool {
        self.taken = self.port == Some(port);
        if !self.taken {
            self.close();
        }
        self.taken
    }

    /// Nobody is going to serve it: connections are to be refused, and not to wait.
    pub(crate) fn close(&mut self) {
        self.listener = None;
        self.taken = false;
    }

    /// The port, where a run serves it, or the next one is going to.
    pub(crate) fn port(&self) -> Option<NonZeroU16> {
        self.port.filter(|_| self.taken)
    }
}

fn bind(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}
