//! The TCP connections that a server has accepted, and whether the server owes a response on them.
//!
//! The kernel knows bytes, not requests. A server owes a response on a connection if it has read all that the client has sent,
//! and has sent nothing since, or if the client has not yet received all that the server has sent. So an idle kept connection
//! owes none, and neither does one that waits to be accepted or whose bytes the server has not read.

use std::{io, num::NonZeroU16, time::Duration};

use rustix::net::AddressFamily;

use super::sock_diag::{CLOSE_WAIT, ESTABLISHED, Query, SockDiag, u16_at, u32_at};

/// The kernel delays an acknowledgement by up to 200 ms (`TCP_DELACK_MAX`).
const MAX_ACK_DELAY: Duration = Duration::from_millis(250);

/// A connection that a process has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    /// The client's port.
    pub(super) client: u16,
    /// The inode of the server's socket, as in `/proc/PID/fd`.
    pub(super) inode: u64,
    pub(super) owes_response: bool,
    /// How long ago the server last sent something, if it has sent anything.
    pub(super) last_sent: Option<Duration>,
}

/// The accepted connections to this port, over IPv4 and IPv6. Fails if the system does not tell, as in some sandboxes.
pub(super) fn accepted(port: NonZeroU16) -> io::Result<Vec<Accepted>> {
    let diag = SockDiag::open()?;
    let mut accepted = Vec::new();
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        let mut servers = connected(&diag, family, port.get(), 0)?;
        // A connection that waits to be accepted has no inode.
        servers.retain(|socket| socket.inode != 0);
        let clients = if servers.iter().any(|server| server.response() == Response::Ambiguous) {
            clients(&diag, port)?
        } else {
            Vec::new()
        };
        accepted.extend(servers.iter().map(|server| {
            let client = clients.iter().find(|client| client.port == server.peer);
            server.accepted(client)
        }));
    }
    Ok(accepted)
}

/// The clients' ends of the connections to this port. A client may use an IPv6 socket for an IPv4 address.
fn clients(diag: &SockDiag, port: NonZeroU16) -> io::Result<Vec<Socket>> {
    let mut clients = connected(diag, AddressFamily::INET, 0, port.get())?;
    clients.extend(connected(diag, AddressFamily::INET6, 0, port.get())?);
    Ok(clients)
}

/// The connected sockets of one family with these ports; 0 stands for any port.
fn connected(diag: &SockDiag, family: AddressFamily, port: u16, peer: u16) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    diag.query(Query { family, port, peer, states: &[ESTABLISHED, CLOSE_WAIT] }, |message| {
        sockets.extend(
            Socket::parse(message)
                .filter(|socket| (port == 0 || socket.port == port) && (peer == 0 || socket.peer == peer)),
        );
    })?;
    Ok(sockets)
}

/// One end of a connection: fields of `inet_diag_msg` and `tcp_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Socket {
    port: u16,
    peer: u16,
    inode: u32,
    /// The peer has closed its side.
    close_wait: bool,
    /// Bytes that the process has not read.
    unread: u32,
    /// Bytes that the peer has not acknowledged.
    unsent: u32,
    has_received: bool,
    has_sent: bool,
    // Milliseconds ago, in steps of the kernel's tick, which is 1 to 10 ms.
    last_sent: u32,
    last_received: u32,
    last_ack_received: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Response {
    Owed,
    NotOwed,
    /// The server has sent and received within the same tick.
    Ambiguous,
}

impl Socket {
    /// Whether this end, a server's, owes a response.
    fn response(&self) -> Response {
        // The end of a client's bytes counts as one byte until the process has read it.
        let unread = self.unread > u32::from(self.close_wait);
        if self.unsent > 0 {
            Response::Owed
        } else if unread || !self.has_received {
            Response::NotOwed
        } else if !self.has_sent || self.last_received < self.last_sent {
            Response::Owed
        } else if self.last_received > self.last_sent {
            Response::NotOwed
        } else {
            Response::Ambiguous
        }
    }

    /// Whether this end, a client's, has sent something since the server's last response. The server's kernel has then
    /// acknowledged it, a little later than that response, because it waits for a response to send along. A later
    /// acknowledgement answers a TCP keep-alive.
    fn has_sent_since_response(&self) -> bool {
        let delay = self.last_received.saturating_sub(self.last_ack_received);
        delay > 0 && Duration::from_millis(delay.into()) <= MAX_ACK_DELAY
    }

    fn accepted(&self, client: Option<&Self>) -> Accepted {
        let owes_response = match self.response() {
            Response::Owed => true,
            Response::NotOwed => false,
            Response::Ambiguous => client.is_some_and(Self::has_sent_since_response),
        };
        Accepted {
            client: self.peer,
            inode: self.inode.into(),
            owes_response,
            last_sent: self.has_sent.then(|| Duration::from_millis(self.last_sent.into())),
        }
    }

    /// The payload of one message of the answer: an `inet_diag_msg` and attributes.
    fn parse(message: &[u8]) -> Option<Self> {
        const INET_DIAG_INFO: u16 = 2;
        let (head, mut attributes) = message.split_at_checked(72)?;
        let info = loop {
            let length = usize::from(u16_at(attributes, 0)?);
            let value = attributes.get(4..length)?;
            if u16_at(attributes, 2)? == INET_DIAG_INFO {
                break value;
            }
            attributes = attributes.get(length.next_multiple_of(4)..)?;
        };
        Some(Self {
            port: u16::from_be(u16_at(head, 4)?),
            peer: u16::from_be(u16_at(head, 6)?),
            inode: u32_at(head, 68)?,
            close_wait: *head.get(1)? == CLOSE_WAIT,
            unread: u32_at(head, 56)?,
            unsent: u32_at(head, 60)?,
            // Segments with data. Linux counts them since 4.6; an older one does not tell enough.
            has_received: u32_at(info, 152)? > 0,
            has_sent: u32_at(info, 156)? > 0,
            last_sent: u32_at(info, 44)?,
            last_received: u32_at(info, 52)?,
            last_ack_received: u32_at(info, 56)?,
        })
    }
}

#[cfg(test)]
mod tests;
