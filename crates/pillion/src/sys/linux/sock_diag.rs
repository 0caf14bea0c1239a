//! The TCP sockets of this network namespace, as the kernel describes them over netlink (`sock_diag(7)`, `linux/inet_diag.h`).

use std::{io, time::Duration};

use rustix::{
    fd::OwnedFd,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

/// How long the kernel may take to answer; it does so at once.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

// From enum tcp_states (linux/tcp_states.h).
pub(super) const ESTABLISHED: u8 = 1;
pub(super) const CLOSE_WAIT: u8 = 8;
pub(super) const LISTEN: u8 = 10;

/// A socket to ask. The system may deny it, for example in a sandbox.
#[derive(Debug)]
pub(super) struct SockDiag(OwnedFd);

/// Which sockets to describe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a> {
    pub(super) family: AddressFamily,
    /// The socket's own port, and the port of its peer; 0 stands for any port.
    pub(super) port: u16,
    pub(super) peer: u16,
    pub(super) states: &'a [u8],
}

impl SockDiag {
    pub(super) fn open() -> io::Result<Self> {
        let (kind, flags) = (SocketType::DGRAM, SocketFlags::CLOEXEC);
        let socket = socket_with(AddressFamily::NETLINK, kind, flags, Some(netlink::SOCK_DIAG))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
        Ok(Self(socket))
    }

    /// Calls `found` with each description: an `inet_diag_msg` and attributes. The kernel may ignore the ports of the query. The
    /// query for listening sockets is cheap; for other states, the kernel searches its table of all connections, which can take
    /// milliseconds.
    pub(super) fn query(&self, query: Query<'_>, mut found: impl FnMut(&[u8])) -> io::Result<()> {
        const DONE: u16 = 3;
        const ERROR: u16 = 2;
        send(&self.0, &query.request(), SendFlags::empty())?;
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let (length, _) = recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty())?;
            let mut messages = &buffer[..length.min(buffer.len())];
            while let Some((kind, payload, rest)) = message(messages) {
                match kind {
                    DONE => return Ok(()),
                    ERROR => {
                        let error = u32_at(payload, 0).map_or(0, u32::cast_signed);
                        return Err(io::Error::from_raw_os_error(error.saturating_neg()));
                    }
                    _ => found(payload),
                }
                messages = rest;
            }
        }
    }
}

impl Query<'_> {
    /// `nlmsghdr`, then `inet_diag_req_v2`, whose two ports are in network byte order.
    fn request(&self) -> [u8; 72] {
        const SOCK_DIAG_BY_FAMILY: u16 = 20;
        const REQUEST_DUMP: u16 = 0x301;
        const PROTOCOL_TCP: u8 = 6;
        /// The bit of `INET_DIAG_INFO`.
        const WITH_TCP_INFO: u8 = 1 << 1;
        let states = self.states.iter().fold(0_u32, |states, state| states | 1 << state);
        let mut request = [0; 72];
        request[0..4].copy_from_slice(&72_u32.to_ne_bytes());
        request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
        request[16] = u8::try_from(self.family.as_raw()).unwrap_or_default();
        request[17] = PROTOCOL_TCP;
        request[18] = WITH_TCP_INFO;
        request[20..24].copy_from_slice(&states.to_ne_bytes());
        request[24..26].copy_from_slice(&self.port.to_be_bytes());
        request[26..28].copy_from_slice(&self.peer.to_be_bytes());
        request
    }
}

/// Splits the first message off: its type, its payload, and the bytes behind it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((u16_at(bytes, 4)?, bytes.get(16..length)?, rest))
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_message_is_none() {
        assert_eq!(message(&[0; 3]), None);
        assert_eq!(message(&[16, 0, 0, 0, 3, 0]), None);
    }
}
