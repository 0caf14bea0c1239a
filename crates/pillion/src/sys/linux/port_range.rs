//! The ports that the kernel gives to programs that ask for any (`ip_local_port_range` and `ip_local_reserved_ports`, ip(7) and the
//! kernel's networking/ip-sysctl).

use std::{fs, ops::RangeInclusive};

/// How many ports are named.
const CANDIDATES: usize = 16;

/// Random ports of the range that the kernel gives to programs, from the part that it hardly ever gives: the upper half, and of that the
/// ports whose parity differs from that of the range's first port. For bind(2) of port 0 on a socket with `SO_REUSEADDR`, which nearly every
/// server sets, the kernel begins in the lower half (`inet_csk_find_open_port`); for connect(2) it begins with the other parity
/// (`__inet_hash_connect`). The ports may be taken. Empty if the system does not tell its range, or the range is small.
pub(crate) fn seldom_given_ports() -> Vec<u16> {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok();
    let mut random = [0; 2 * CANDIDATES];
    let Some(range) = read("ip_local_port_range").as_deref().and_then(range) else { return Vec::new() };
    let Some(reserved) = read("ip_local_reserved_ports") else { return Vec::new() };
    if getrandom::fill(&mut random).is_err() {
        return Vec::new();
    }
    let (numbers, _) = random.as_chunks::<2>();
    choose(&range, &reserved, numbers.iter().map(|bytes| u16::from_ne_bytes(*bytes)))
}

/// The ports of the part that is hardly ever given, at these random places, without those that the administrator has reserved.
fn choose(range: &RangeInclusive<u16>, reserved: &str, places: impl Iterator<Item = u16>) -> Vec<u16> {
    let first = range.start().saturating_add(range.end().saturating_sub(*range.start()) / 4 * 2 + 1);
    let count = range.end().saturating_sub(first) / 2;
    if usize::from(count) < CANDIDATES {
        return Vec::new();
    }
    let is_reserved =
        |port| reserved.trim().split(',').filter_map(reserved_range).any(|it| it.contains(&port));
    places.map(|place| first + place % count * 2).filter(|port| !is_reserved(*port)).collect()
}

/// Two numbers, such as `32768\t60999`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut bounds = text.split_whitespace().map(|bound| bound.parse().ok());
    Some(bounds.next()??..=bounds.next()??)
}

/// `8080` or `9000-9100`.
fn reserved_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_are_of_the_upper_half_and_the_other_parity() {
        let range = range("32768\t60999\n").unwrap();
        let ports = choose(&range, "", 0..=u16::MAX);
        assert_eq!((ports.iter().min(), ports.iter().max()), (Some(&46883), Some(&60997)));
        assert!(ports.iter().all(|port| port % 2 == 1));
    }

    #[test]
    fn a_reserved_port_is_left_out() {
        let ports = choose(&(32768..=60999), "50001,50011-50021,8080\n", 0..=u16::MAX);
        for port in 49_999..=50_023 {
            let is_chosen = port % 2 == 1 && port != 50_001 && !(50_011..=50_021).contains(&port);
            assert_eq!(ports.contains(&port), is_chosen, "{port}");
        }
    }

    #[test]
    fn a_small_or_odd_range_names_none_or_ports_of_itself() {
        for (first, last) in [(1024, 65535), (65000, 65535), (1025, 1100), (1, u16::MAX), (0, u16::MAX)] {
            let ports = choose(&(first..=last), "", 0..=u16::MAX);
            assert!(ports.iter().all(|port| (first..=last).contains(port) && port % 2 != first % 2));
            assert!(!ports.is_empty(), "{first} to {last}");
        }
        for (first, last) in [(1000, 1010), (60999, 32768), (5000, 5000), (65535, 65535)] {
            assert!(choose(&(first..=last), "", 0..=u16::MAX).is_empty(), "{first} to {last}");
        }
        assert_eq!(range("32768"), None);
        assert_eq!(range("a b"), None);
    }
}
