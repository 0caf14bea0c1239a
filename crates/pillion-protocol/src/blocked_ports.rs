//! The ports that browsers refuse to call.

use std::num::NonZeroU16;

/// The list of the fetch standard: <https://fetch.spec.whatwg.org/#bad-port>. Sorted.
#[rustfmt::skip]
const BLOCKED_BY_BROWSERS: [u16; 82] = [
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190,
    5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

/// Whether browsers refuse requests to this port (`ERR_UNSAFE_PORT`), so that no page can call a server on it.
#[must_use]
pub fn is_blocked_by_browsers(port: NonZeroU16) -> bool {
    BLOCKED_BY_BROWSERS.binary_search(&port.get()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_holds_well_known_ports() {
        assert!(BLOCKED_BY_BROWSERS.is_sorted_by(|a, b| a < b));
        let blocked = |port| is_blocked_by_browsers(NonZeroU16::new(port).unwrap());
        assert!(blocked(22) && blocked(6000) && blocked(10080));
        assert!(!blocked(80) && !blocked(3000) && !blocked(8080));
    }
}
