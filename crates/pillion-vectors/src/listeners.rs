//! The sockets on which processes listen, as the kernel of Linux lists them.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// `TCP_LISTEN` of <netinet/tcp.h>.
const LISTEN: &str = "0A";

/// The TCP addresses on which one of these processes listens, in the order of their addresses
/// (<https://man7.org/linux/man-pages/man5/proc_pid_net.5.html>). Skips a process that has ended.
///
/// # Errors
/// Returns an error if the descriptors of a process are not readable: it belongs to another user.
pub fn listening(pids: impl IntoIterator<Item = u32>) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = BTreeSet::new();
    for pid in pids {
        let held = match held_sockets(pid) {
            Ok(held) => held,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for table in ["tcp", "tcp6"] {
            let table = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
            for line in table.lines().skip(1) {
                let fields: Vec<_> = line.split_ascii_whitespace().collect();
                let (Some(address), Some(state), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9))
                else {
                    continue;
                };
                if *state == LISTEN && held.contains(&format!("socket:[{inode}]")) {
                    addresses.extend(parse(address));
                }
            }
        }
    }
    Ok(addresses.into_iter().collect())
}

fn held_sockets(pid: u32) -> io::Result<BTreeSet<String>> {
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A descriptor may be closed meanwhile.
        held.extend(fs::read_link(entry?.path()).ok().map(|target| target.to_string_lossy().into_owned()));
    }
    Ok(held)
}

/// Reads `0100007F:1F90`: each word of the address in the byte order of this machine, the port as a number.
fn parse(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    for at in (0..address.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let ip = if let Ok(bytes) = <[u8; 4]>::try_from(&bytes[..]) {
        IpAddr::V4(Ipv4Addr::from(bytes))
    } else {
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_listeners_of_this_process_are_found() {
        let mut wanted = Vec::new();
        let mut open = Vec::new();
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            // A machine without IPv6 has no such address.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            wanted.push(listener.local_addr().unwrap());
            open.push(listener);
        }
        let found = listening([std::process::id()]).unwrap();
        assert!(wanted.len() > 1 && wanted.iter().all(|address| found.contains(address)), "{found:?}");
        drop(open);
    }
}
