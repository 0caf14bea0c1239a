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
    ///
    /// A long answer comes in parts, between which the table can change. Fails with [`io::ErrorKind::Interrupted`] if the kernel says
    /// that it has changed (`NLM_F_DUMP_INTR`, netlink(7)); kernels do not say it of TCP sockets so far, and a part goes on at the place
    /// in its chain of the table where the one before ended. So a long answer may miss a socket.
    pub(super) fn query(&self, query: Query<'_>, found: impl FnMut(&[u8])) -> io::Result<()> {
        send(&self.0, &query.request(), SendFlags::empty())?;
        read_answer(|buffer| Ok(recv(&self.0, buffer, RecvFlags::empty())?.0), found)
    }
}

/// Reads the parts of an answer, each of which `receive` puts into the buffer and returns the length of.
fn read_answer(
    mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>,
    mut found: impl FnMut(&[u8]),
) -> io::Result<()> {
    const DONE: u16 = 3;
    const ERROR: u16 = 2;
    const DUMP_INTERRUPTED: u16 = 0x10;
    let mut buffer = vec![0; 32 * 1024];
    let mut interrupted = false;
    loop {
        let length = receive(&mut buffer)?;
        let mut messages = &buffer[..length.min(buffer.len())];
        while let Some(Message { kind, flags, payload, rest }) = message(messages) {
            interrupted |= flags & DUMP_INTERRUPTED != 0;
            match kind {
                DONE if interrupted => return Err(io::ErrorKind::Interrupted.into()),
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

/// A message, which begins with an `nlmsghdr`.
#[derive(Debug, PartialEq, Eq)]
struct Message<'a> {
    kind: u16,
    flags: u16,
    payload: &'a [u8],
    /// The bytes behind it.
    rest: &'a [u8],
}

/// Splits the first message off.
fn message(bytes: &[u8]) -> Option<Message<'_>> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    Some(Message {
        kind: u16_at(bytes, 4)?,
        flags: u16_at(bytes, 6)?,
        payload: bytes.get(16..length)?,
        rest: bytes.get(length.next_multiple_of(4)..).unwrap_or_default(),
    })
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
    fn header(kind: u16, flags: u16) -> Vec<u8> {
        [&20_u32.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 12]].concat()
    }

    #[test]
    fn an_answer_during_which_the_table_changed_is_an_error_after_its_last_part() {
        for (flags, result) in [([2, 2], None), ([0x12, 2], Some(io::ErrorKind::Interrupted))] {
            let [part, done] = flags;
            let parts = [header(20, part), [header(20, 2), header(3, done)].concat()];
            let mut parts = parts.iter();
            let receive = |buffer: &mut [u8]| {
                let part = parts.next().unwrap();
                buffer[..part.len()].copy_from_slice(part);
                Ok(part.len())
            };
            let mut sockets = 0;
            let read = read_answer(receive, |_| sockets += 1);
            assert_eq!((read.err().map(|error| error.kind()), sockets), (result, 2));
            assert_eq!(parts.len(), 0, "the next answer begins behind it");
        }
    }
}
