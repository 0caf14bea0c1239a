//! The listening TCP sockets of this network namespace, as the kernel describes them over netlink, or as `/proc/net/tcp` and `tcp6`
//! show them (`proc_pid_net(5)`). Those tables list every connection as well, which takes long on a busy machine.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
};

use rustix::net::AddressFamily;

use super::{
    looks,
    sock_diag::{LISTEN, Query, SockDiag, u16_at, u32_at},
};

/// A socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listening {
    address: IpAddr,
    port: u16,
    pub(super) inode: u64,
}

/// The sockets to which the kernel gives connections to `port` of 127.0.0.1: none if the system names no such socket or
/// does not tell, several if they share the port (`SO_REUSEPORT`, socket(7)).
pub(super) fn listening_on_loopback(port: NonZeroU16) -> Vec<Listening> {
    looks::find_any(|| {
        let sockets = described(port.get()).unwrap_or_else(|_| in_tables());
        most_specific(&sockets, port.get())
    })
}

/// All sockets that listen, also on addresses that 127.0.0.1 does not reach. One look, which may miss some.
pub(super) fn all_listening() -> Vec<Listening> {
    described(0).unwrap_or_else(|_| in_tables())
}

/// The sockets that listen on this port, by netlink; 0 stands for any port.
fn described(port: u16) -> io::Result<Vec<Listening>> {
    let diag = SockDiag::open()?;
    let mut sockets = Vec::new();
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        let query = Query { family, port, peer: 0, states: &[LISTEN] };
        diag.query(query, |message| sockets.extend(Listening::parse(message)))?;
    }
    Ok(sockets)
}

/// All sockets of `/proc`, the listening ones among them.
fn in_tables() -> Vec<Listening> {
    let read = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    let mut sockets = parse(&read("tcp"));
    sockets.extend(parse(&read("tcp6")));
    sockets
}

impl Listening {
    pub(super) fn place(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// An `inet_diag_msg`.
    fn parse(message: &[u8]) -> Option<Self> {
        let address = message.get(8..24)?;
        let address = if AddressFamily::from_raw((*message.first()?).into()) == AddressFamily::INET {
            IpAddr::from(<[u8; 4]>::try_from(&address[..4]).ok()?)
        } else {
            IpAddr::from(<[u8; 16]>::try_from(address).ok()?)
        };
        Some(Self { address, port: u16::from_be(u16_at(message, 4)?), inode: u32_at(message, 68)?.into() })
    }
}

/// Linux prefers a listener on the very address to one on all addresses, and IPv4 to IPv6.
fn most_specific(sockets: &[Listening], port: u16) -> Vec<Listening> {
    const PREFERENCE: [IpAddr; 4] = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    let on = |address: IpAddr| {
        let matching = sockets.iter().filter(move |socket| socket.port == port && socket.address == address);
        matching.copied().collect::<Vec<_>>()
    };
    PREFERENCE.into_iter().map(on).find(|found| !found.is_empty()).unwrap_or_default()
}

fn parse(table: &str) -> Vec<Listening> {
    table.lines().filter_map(listening).collect()
}

/// One line: slot, local address, remote address, state, queues, timer, retransmissions, user, time-out, inode, …
fn listening(line: &str) -> Option<Listening> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    Some(Listening { address: parse_address(address)?, port: u16::from_str_radix(port, 16).ok()?, inode })
}

/// An address is written as 32-bit words in the byte order of the machine.
fn parse_address(text: &str) -> Option<IpAddr> {
    let words = (0..text.len()).step_by(8).map(|at| u32::from_str_radix(text.get(at..at + 8)?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        os::{fd::AsRawFd, unix::fs::MetadataExt},
    };

    use super::*;

    fn on(address: &str, port: u16) -> Listening {
        Listening { address: address.parse().unwrap(), port, inode: 1 }
    }

    #[test]
    fn a_listener_on_the_address_itself_is_preferred() {
        let sockets =
            [on("0.0.0.0", 80), on("::", 80), on("127.0.0.1", 80), on("127.0.0.1", 81), on("::1", 80)];
        assert_eq!(most_specific(&sockets, 80), [on("127.0.0.1", 80)]);
        assert_eq!(most_specific(&sockets[..2], 80), [on("0.0.0.0", 80)]);
        assert_eq!(most_specific(&sockets[1..2], 80), [on("::", 80)]);
        assert_eq!(most_specific(&[on("::1", 80)], 80), [], "it does not serve 127.0.0.1");
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_line_of_the_table_is_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1";
        assert_eq!(listening(line), Some(Listening { inode: 4242, ..on("127.0.0.1", 8080) }));
        let connected = line.replace(" 0A ", " 01 ");
        assert_eq!(listening(&connected), None);
        assert_eq!(parse_address("0000000000000000FFFF00000100007F"), "::ffff:127.0.0.1".parse().ok());
        assert_eq!(parse("  sl  local_address rem_address   st\n"), []);
    }

    #[test]
    fn netlink_and_the_tables_name_the_same_listener() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0", "[::1]:0"] {
            // A system without IPv6 has no listener there.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = NonZeroU16::new(listener.local_addr().unwrap().port()).unwrap();
            // Other programs can listen on this port, at other addresses.
            let inode = fs::metadata(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap().ino();
            let ours = |sockets: Vec<Listening>| {
                sockets.into_iter().filter(|socket| socket.inode == inode).collect()
            };
            // A table that changes while it is read can miss the listener.
            let in_tables: Vec<_> = looks::find_any(|| ours(in_tables()));
            let [socket] = in_tables[..] else { panic!("{address}: {in_tables:?}") };
            assert_eq!((socket.address, socket.port), (listener.local_addr().unwrap().ip(), port.get()));
            assert_eq!(looks::find_any(|| ours(described(port.get()).unwrap())), [socket], "{address}");
            assert_eq!(looks::find_any(|| ours(all_listening())), [socket], "{address}");
            assert_eq!(socket.place(), listener.local_addr().unwrap());
            let serves_ipv4 = address != "[::1]:0";
            assert_eq!(listening_on_loopback(port).contains(&socket), serves_ipv4, "{address}");
            drop(listener);
            // Ends once no child of another test, between its fork and its program, holds the listener any more.
            while described(port.get()).unwrap().contains(&socket) {}
        }
    }
}
