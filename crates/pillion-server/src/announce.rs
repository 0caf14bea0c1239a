//! Writes the announcement to stdout.

use std::io::{self, Write};

use pillion_protocol::{ListenAddr, announcement_line};

/// Announces `addr`. Call it once the listener accepts connections.
///
/// Rust buffers stdout by line and the buffer is empty, so the line leaves in one write.
pub(crate) fn announce(addr: ListenAddr) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(announcement_line(addr).as_bytes())?;
    stdout.flush()
}
