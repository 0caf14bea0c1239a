//! The one line on stdout.

use std::io::{self, Write};

use pillion_protocol::{ListenAddr, announcement_line};

/// Announces `place`; the listener must accept by now.
///
/// Stdout is line-buffered in Rust and its buffer is empty, so the line leaves in one write.
pub(crate) fn announce(addr: ListenAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(announcement_line(addr).as_bytes())?;
    stdout.flush()
}
