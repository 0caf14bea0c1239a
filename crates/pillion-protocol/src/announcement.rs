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
pub use near_miss::NearMiss;

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
    Of(ListenAddr),
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
            Some(addr) => Self::Of(addr),
            None => Self::Malformed(text()),
        })
    }
}

/// The visible part of a line without a byte-order mark before it and colours around it (ECMA-48 SGR: `ESC [ 1;32 m`). Some shells
/// and loggers add them to every line.
fn exact(mut visible: &[u8]) -> &[u8] {
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
        Announcement::Of(ListenAddr::Tcp(NonZeroU16::new(port).unwrap()))
    }

    #[test]
    fn a_port_line_is_an_announcement() {
        for stream in [
            b"BACKEND_PORT:4242\n".as_slice(),
            b"BACKEND_PORT:4242\r\n",
            b"BACKEND_PORT:4242\r\r\n",
            b"hello\nBACKEND_PORT:4242\nbye\n",
            b"55%\r99%\rBACKEND_PORT:4242\n",
            b"\xff\xfe\nBACKEND_PORT:4242\n",
            b"\xef\xbb\xbfBACKEND_PORT:4242\n",
            b"\x1b[0m\x1b[1;38:5:2mBACKEND_PORT:4242\x1b[0m\x1b[m\r\n",
            b"\x1b[1m\xef\xbb\xbfBACKEND_PORT:4242\n",
        ] {
            assert_eq!(read(stream), [port(4242)], "{}", stream.escape_ascii());
        }
        assert_eq!(read(b"BACKEND_PORT:1\n"), [port(1)]);
        assert_eq!(read(b"BACKEND_PORT:65535\n"), [port(65535)]);
    }

    #[test]
    fn an_over_long_line_does_not_hide_the_next_announcement() {
        let mut stream = b"x".repeat(1 << 20);
        stream.extend_from_slice(b"BACKEND_PORT:1\n");
        assert_eq!(read(&stream), []);
        stream.extend_from_slice(b"BACKEND_PORT:2\n");
        assert_eq!(read(&stream), [port(2)]);
        let mut bar = b"x".repeat(1 << 20);
        bar.extend_from_slice(b"\rBACKEND_PORT:3\n");
        assert_eq!(read(&bar), [port(3)]);
    }

    #[test]
    fn a_prefix_without_a_valid_port_is_malformed() {
        for rest in [
            "\u{1b}[33m80",
            "80\u{1b}[0",
            "80\u{feff}",
            "0",
            "65536",
            "99999999999",
            "+80",
            "-80",
            "080",
            "",
            " 80",
            "80 ",
            "80 http",
            "0x50",
            "８０",
        ] {
            let line = format!("BACKEND_PORT:{rest}");
            assert_eq!(read(format!("{line}\n").as_bytes()), [Announcement::Malformed(line)]);
        }
    }

    #[test]
    fn a_local_socket_is_announced_by_its_descriptor_or_as_pipe() {
        let (listener, other_platform) = if cfg!(windows) { ("pipe", "3") } else { ("3", "pipe") };
        let line = format!("BACKEND_SOCKET:{listener}");
        assert_eq!(announcement_line(ListenAddr::Local), format!("{line}\n"));
        assert_eq!(read(format!("{line}\r\n").as_bytes()), [Announcement::Of(ListenAddr::Local)]);
        assert_eq!(read(line.as_bytes()), [Announcement::Unfinished(line)]);
        for rest in ["", "0", "4", "03", "3 ", "pipe ", "/run/backend.sock", other_platform] {
            let line = format!("BACKEND_SOCKET:{rest}");
            assert_eq!(read(format!("{line}\n").as_bytes()), [Announcement::Malformed(line)]);
        }
    }

    #[test]
    fn a_line_without_its_newline_is_unfinished() {
        let cut = Announcement::Unfinished("BACKEND_PORT:399".into());
        assert_eq!(read(b"BACKEND_PORT:399"), [cut]);
        assert_eq!(read(b"BACKEND_PORT:42\r42\n"), []);
    }

    #[test]
    fn a_line_without_the_exact_prefix_is_ordinary() {
        for line in [
            " BACKEND_PORT:1",
            "backend_port:1",
            "> BACKEND_PORT:1",
            "BACKEND_PORT 1",
            "BACKEND_PORT:1\rx",
            "\u{1b}[2KBACKEND_PORT:1",
            "\u{1b}[32BACKEND_PORT:1",
            "BACKEND_PORT\u{1b}[0m:1",
            "\u{1b}[31mx\u{1b}[0mBACKEND_PORT:1",
            "",
        ] {
            assert_eq!(read(format!("{line}\n").as_bytes()), [], "{line:?}");
        }
    }

    #[test]
    fn every_announcement_is_read() {
        assert_eq!(read(b"BACKEND_PORT:1\nBACKEND_PORT:2\n"), [port(1), port(2)]);
    }

    proptest! {
        #[test]
        fn an_announcement_line_reads_back(number in 1..=u16::MAX) {
            let line = announcement_line(ListenAddr::Tcp(NonZeroU16::new(number).unwrap()));
            prop_assert_eq!(read(line.as_bytes()), [port(number)]);
        }
    }
}
