//! The announcement: one line on stdout that makes any program a sidecar.
//!
//! | the sidecar's stdout | what the host makes of it |
//! | --- | --- |
//! | `BACKEND_PORT:4242\n`, `…\r\n`, split over any writes | port 4242 |
//! | `55%\rBACKEND_PORT:4242\n` | port 4242: what a terminal shows of that line |
//! | `BACKEND_PORT:4242` and then the end of the stream | not announced: [`Announcement::Unfinished`] |
//! | port 0, 65536, `+80`, `080`, empty, spaces, letters | not announced: [`Announcement::Malformed`] |
//! | ` BACKEND_PORT:1`, `backend_port:1`, `x BACKEND_PORT:1` | a line like any other |
//! | invalid UTF-8 before the line | lines like any other; reading goes on |
//! | noise without a newline, of any length | one cut line; reading goes on in bounded memory |
//! | `BACKEND_SOCKET:3\n` (on Windows `BACKEND_SOCKET:pipe\n`) | the socket that the host handed over as descriptor 3 (the pipe that it named) |
//! | `BACKEND_SOCKET:` and anything else | not announced: [`Announcement::Malformed`] |
//! | a second announcement | the first one holds; the host reports the second |
//!
//! A malformed announcement does not fail the start by itself: a correct one may follow. It is reported at once, and
//! named as the likely reason when the sidecar is given up.

use std::num::NonZeroU16;

use crate::{ListenAddr, framing::Line};

/// What the announcement of a port starts with.
pub const PREFIX: &str = "BACKEND_PORT:";
/// What the announcement of a socket starts with.
pub const SOCKET_PREFIX: &str = "BACKEND_SOCKET:";
/// What a socket is announced as: the descriptor at which a host hands its listener over (`SD_LISTEN_FDS_START`,
/// `sd_listen_fds(3)`). On Windows, where the sidecar creates the pipe that the host named, it is `pipe`. There is one at most.
pub const LISTENER: &str = if cfg!(windows) { "pipe" } else { "3" };

/// What a line of stdout says about where the sidecar serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// The sidecar accepts connections there.
    Of(ListenAddr),
    /// The line starts like an announcement, but no port from 1 to 65535 follows, or not [`LISTENER`]. The line as text.
    Malformed(String),
    /// The stream ended within the line, so that it may be cut short. The line as text.
    Unfinished(String),
}

impl Announcement {
    /// Reads a line of stdout; `None` for a line that is no announcement.
    #[must_use]
    pub fn read(line: &Line<'_>) -> Option<Self> {
        let visible = line.visible()?;
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

/// A port in plain decimal, without sign, spaces or leading zeros.
///
/// The one reading of a port number, for announcements and for `PORT` alike.
#[must_use]
pub fn parse_port(digits: &[u8]) -> Option<NonZeroU16> {
    if digits.is_empty() || digits[0] == b'0' || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The bytes that announce `place`, newline included. Write them in one call, and flush.
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
    fn a_port_is_announced_by_its_line() {
        for stream in [
            b"BACKEND_PORT:4242\n".as_slice(),
            b"BACKEND_PORT:4242\r\n",
            b"BACKEND_PORT:4242\r\r\n",
            b"hello\nBACKEND_PORT:4242\nbye\n",
            b"55%\r99%\rBACKEND_PORT:4242\n",
            b"\xff\xfe\nBACKEND_PORT:4242\n",
        ] {
            assert_eq!(read(stream), [port(4242)], "{}", stream.escape_ascii());
        }
        assert_eq!(read(b"BACKEND_PORT:1\n"), [port(1)]);
        assert_eq!(read(b"BACKEND_PORT:65535\n"), [port(65535)]);
    }

    #[test]
    fn noise_without_a_newline_hides_only_its_own_line() {
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
    fn a_line_that_is_almost_an_announcement_is_named() {
        for rest in
            ["0", "65536", "99999999999", "+80", "-80", "080", "", " 80", "80 ", "80 http", "0x50", "８０"]
        {
            let line = format!("BACKEND_PORT:{rest}");
            assert_eq!(read(format!("{line}\n").as_bytes()), [Announcement::Malformed(line)]);
        }
    }

    #[test]
    fn a_socket_is_announced_as_what_it_was_given_as() {
        let (ours, elsewheres) = if cfg!(windows) { ("pipe", "3") } else { ("3", "pipe") };
        let line = format!("BACKEND_SOCKET:{ours}");
        assert_eq!(announcement_line(ListenAddr::Local), format!("{line}\n"));
        assert_eq!(read(format!("{line}\r\n").as_bytes()), [Announcement::Of(ListenAddr::Local)]);
        assert_eq!(read(line.as_bytes()), [Announcement::Unfinished(line)]);
        for rest in ["", "0", "4", "03", "3 ", "pipe ", "/run/backend.sock", elsewheres] {
            let line = format!("BACKEND_SOCKET:{rest}");
            assert_eq!(read(format!("{line}\n").as_bytes()), [Announcement::Malformed(line)]);
        }
    }

    #[test]
    fn a_line_counts_only_with_its_newline() {
        let cut = Announcement::Unfinished("BACKEND_PORT:399".into());
        assert_eq!(read(b"BACKEND_PORT:399"), [cut]);
        assert_eq!(read(b"BACKEND_PORT:42\r42\n"), []);
    }

    #[test]
    fn other_lines_are_no_announcement() {
        for line in [
            " BACKEND_PORT:1",
            "backend_port:1",
            "> BACKEND_PORT:1",
            "BACKEND_PORT 1",
            "BACKEND_PORT:1\rx",
            "",
        ] {
            assert_eq!(read(format!("{line}\n").as_bytes()), [], "{line:?}");
        }
    }

    #[test]
    fn each_announcement_is_reported_and_the_host_takes_the_first() {
        assert_eq!(read(b"BACKEND_PORT:1\nBACKEND_PORT:2\n"), [port(1), port(2)]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number in 1..=u16::MAX) {
            let line = announcement_line(ListenAddr::Tcp(NonZeroU16::new(number).unwrap()));
            prop_assert_eq!(read(line.as_bytes()), [port(number)]);
        }
    }
}
