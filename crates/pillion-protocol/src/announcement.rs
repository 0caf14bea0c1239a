//! The announcement: the line on stdout that tells the host where the sidecar listens.
//!
//! | the sidecar's stdout | how the host reads it |
//! | --- | --- |
//! | `BACKEND_PORT:4242\n`, `…\r\n`, split over any writes | port 4242 |
//! | `55%\rBACKEND_PORT:4242\n` | port 4242: a terminal shows only this part of the line |
//! | `BACKEND_PORT:4242` and then the end of the stream | not an announcement: [`Announcement::Unfinished`] |
//! | port 0, 65536, `+80`, `080`, empty, spaces, letters | not an announcement: [`Announcement::Malformed`] |
//! | `\u{feff}BACKEND_PORT:4242\n`, `\x1b[32mBACKEND_PORT:4242\x1b[0m\n` | port 4242: a byte-order mark and colours (SGR) around the line do not count |
//! | ` BACKEND_PORT:1`, `backend_port:1`, `x BACKEND_PORT:1`, `BACKEND_PORT=1` | an ordinary line; [`NearMiss`] explains it if the start fails |
//! | invalid UTF-8 before the line | ordinary lines; the host reads on |
//! | noise without a newline, of any length | one cut line; the host reads on in bounded memory |
//! | `BACKEND_SOCKET:3\n` (on Windows `BACKEND_SOCKET:pipe\n`) | the socket that the host passed as descriptor 3 (on Windows the pipe that it named) |
//! | `BACKEND_SOCKET:` and anything else | not an announcement: [`Announcement::Malformed`] |
//! | a second announcement | the first one counts; the host reports the second |
//!
//! A malformed announcement does not fail the start by itself, because a correct one may follow. The host reports it at
//! once, and names it as the likely reason if the start fails later.

mod near_miss;

use std::num::NonZeroU16;

use crate::{ListenAddr, framing::Line};
pub(crate) use near_miss::without_escapes;
pub use near_miss::{NearMiss, may_announce};

/// The prefix of the announcement of a port.
pub const PREFIX: &str = "BACKEND_PORT:";
/// The prefix of the announcement of a local socket.
pub const SOCKET_PREFIX: &str = "BACKEND_SOCKET:";
/// The rest of the announcement of a local socket: the descriptor of the inherited listener (`SD_LISTEN_FDS_START`,
/// `sd_listen_fds(3)`). On Windows, where the sidecar creates the pipe that the host named, it is `pipe`. A run has at most one.
pub const LISTENER: &str = if cfg!(windows) { "pipe" } else { "3" };

/// A line of stdout that announces a listen address, or tries to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Announcement {
    /// The sidecar accepts connections at this address.
    Address(ListenAddr),
    /// The line has the prefix of an announcement, but neither a port from 1 to 65535 nor [`LISTENER`] follows. Holds the
    /// line as text, at most 80 bytes of it.
    Malformed(String),
    /// The stream ended before the newline, so the line may be cut short. Holds the line as text, at most 80 bytes of it.
    Unfinished(String),
}

impl Announcement {
    /// Reads a line of stdout. Returns `None` for an ordinary line.
    #[must_use]
    pub fn read(line: &Line<'_>) -> Option<Self> {
        let visible = exact(line.visible()?);
        let addr = match visible.strip_prefix(SOCKET_PREFIX.as_bytes()) {
            Some(listener) => (listener == LISTENER.as_bytes()).then_some(ListenAddr::Local),
            None => parse_port(visible.strip_prefix(PREFIX.as_bytes())?).map(ListenAddr::Tcp),
        };
        let text = || String::from_utf8_lossy(&visible[..visible.len().min(80)]).into_owned();
        Some(match addr {
            _ if !line.is_terminated() => Self::Unfinished(text()),
            Some(addr) => Self::Address(addr),
            None => Self::Malformed(text()),
        })
    }
}

/// The visible part of a line without a byte-order mark before it and colours around it (ECMA-48 SGR: `ESC [ 1;32 m`). Some shells
/// and loggers add them to every line.
pub(crate) fn exact(mut visible: &[u8]) -> &[u8] {
    while let Some(rest) = visible.strip_prefix("\u{feff}".as_bytes()).or_else(|| strip_sgr_prefix(visible)) {
        visible = rest;
    }
    while let Some(escape) = visible.iter().rposition(|byte| *byte == 0x1b)
        && strip_sgr_prefix(&visible[escape..]).is_some_and(<[u8]>::is_empty)
    {
        visible = &visible[..escape];
    }
    visible
}

fn strip_sgr_prefix(bytes: &[u8]) -> Option<&[u8]> {
    let sequence = bytes.strip_prefix(b"\x1b[")?;
    let end = sequence.iter().position(|byte| !byte.is_ascii_digit() && *byte != b';' && *byte != b':')?;
    (sequence[end] == b'm').then_some(&sequence[end + 1..])
}

/// Parses a port in plain decimal: no sign, no spaces, no leading zeros, from 1 to 65535.
///
/// Announcements and `PORT` share this parser.
#[must_use]
pub fn parse_port(digits: &[u8]) -> Option<NonZeroU16> {
    if digits.is_empty() || digits[0] == b'0' || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The line that announces `addr`, with its newline. Write it in one call, and flush.
#[must_use]
pub fn announcement_line(addr: ListenAddr) -> String {
    match addr {
        ListenAddr::Tcp(port) => format!("{PREFIX}{port}\n"),
        ListenAddr::Local => format!("{SOCKET_PREFIX}{LISTENER}\n"),
    }
}

// The vectors of docs/protocol test the parser: tests/vectors.rs.
#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::framing::LineFramer;
    use proptest::prelude::*;

    fn read(stream: &[u8]) -> Vec<Announcement> {
        let mut framer = LineFramer::new(1024);
        let mut found = Vec::new();
        framer.feed(stream, |line| found.extend(Announcement::read(&line)));
        framer.finish(|line| found.extend(Announcement::read(&line)));
        found
    }

    fn port(port: u16) -> Announcement {
        Announcement::Address(ListenAddr::Tcp(NonZeroU16::new(port).unwrap()))
    }

    #[test]
    fn the_line_of_a_local_socket_reads_back() {
        let line = announcement_line(ListenAddr::Local);
        assert_eq!(line, if cfg!(windows) { "BACKEND_SOCKET:pipe\n" } else { "BACKEND_SOCKET:3\n" });
        assert_eq!(read(line.as_bytes()), [Announcement::Address(ListenAddr::Local)]);
    }

    proptest! {
        #[test]
        fn an_announcement_line_reads_back(number in 1..=u16::MAX) {
            let line = announcement_line(ListenAddr::Tcp(NonZeroU16::new(number).unwrap()));
            prop_assert_eq!(read(line.as_bytes()), [port(number)]);
        }
    }
}
