//! The TCP connections that a server has accepted, as the kernel describes them over netlink (`sock_diag(7)`, `linux/inet_diag.h`),
//! and whether the server owes a response on them.
//!
//! The kernel knows bytes, not requests. A server owes a response on a connection if it has read all that the client has sent,
//! and has sent nothing since, or if the client has not yet received all that the server has sent. So an idle kept connection
//! owes none, and neither does one that waits to be accepted or whose bytes the server has not read.

use std::{io, num::NonZeroU16, time::Duration};

use rustix::{
    fd::OwnedFd,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

/// How long the kernel may take to answer; it does so at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
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
    let netlink = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    set_socket_timeout(&netlink, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
    let mut accepted = Vec::new();
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        let servers = dump(&netlink, family, port.get(), 0)?;
        // A connection that waits to be accepted has no inode.
        let servers: Vec<_> = servers.into_iter().filter(|socket| socket.inode != 0).collect();
        let clients = if servers.iter().any(|server| server.response() == Response::Ambiguous) {
            clients(&netlink, port)?
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
fn clients(netlink: &OwnedFd, port: NonZeroU16) -> io::Result<Vec<Socket>> {
    let mut clients = dump(netlink, AddressFamily::INET, 0, port.get())?;
    clients.extend(dump(netlink, AddressFamily::INET6, 0, port.get())?);
    Ok(clients)
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

// From enum tcp_states (linux/tcp_states.h).
const ESTABLISHED: u8 = 1;
const CLOSE_WAIT: u8 = 8;

/// Asks for the sockets of one family with these ports; 0 stands for any port.
fn dump(netlink: &OwnedFd, family: AddressFamily, port: u16, peer: u16) -> io::Result<Vec<Socket>> {
    const DONE: u16 = 3;
    const ERROR: u16 = 2;
    send(netlink, &request(family, port, peer), SendFlags::empty())?;
    let mut sockets = Vec::new();
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let (length, _) = recv(netlink, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut messages = &buffer[..length.min(buffer.len())];
        while let Some((kind, payload, rest)) = message(messages) {
            match kind {
                DONE => return Ok(sockets),
                ERROR => {
                    let error = u32_at(payload, 0).map_or(0, u32::cast_signed);
                    return Err(io::Error::from_raw_os_error(error.saturating_neg()));
                }
                // The kernel may ignore the filter for ports.
                _ => sockets.extend(Socket::parse(payload).filter(|socket| {
                    (port == 0 || socket.port == port) && (peer == 0 || socket.peer == peer)
                })),
            }
            messages = rest;
        }
    }
}

/// The request: `nlmsghdr`, then `inet_diag_req_v2`, whose two ports are in network byte order.
fn request(family: AddressFamily, port: u16, peer: u16) -> [u8; 72] {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const REQUEST_DUMP: u16 = 0x301;
    const PROTOCOL_TCP: u8 = 6;
    /// The bit of `INET_DIAG_INFO`.
    const WITH_TCP_INFO: u8 = 1 << 1;
    let mut request = [0; 72];
    request[0..4].copy_from_slice(&72_u32.to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    request[16] = u8::try_from(family.as_raw()).unwrap_or_default();
    request[17] = PROTOCOL_TCP;
    request[18] = WITH_TCP_INFO;
    request[20..24].copy_from_slice(&(1_u32 << ESTABLISHED | 1 << CLOSE_WAIT).to_ne_bytes());
    request[24..26].copy_from_slice(&port.to_be_bytes());
    request[26..28].copy_from_slice(&peer.to_be_bytes());
    request
}

/// Splits the first message off: its type, its payload, and the bytes behind it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((u16_at(bytes, 4)?, bytes.get(16..length)?, rest))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
