//! The one line on stdout.

use std::{
    io::{self, Write},
    num::NonZeroU16,
};

use pillion_protocol::announcement_line;

/// Announces `port`; the listener must accept by now.
///
/// Stdout is line-buffered in Rust and its buffer is empty, so the line leaves in one write.
pub(crate) fn announce(port: NonZeroU16) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(announcement_line(port).as_bytes())?;
    stdout.flush()
}
