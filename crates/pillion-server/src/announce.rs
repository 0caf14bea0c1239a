//! Writes the announcement to stdout.

use std::io::{self, Write};

use pillion_protocol::{ListenAddr, announcement_line, progress_line};

/// Announces `addr`. Call it once the listener accepts connections.
///
/// Rust buffers stdout by line and the buffer is empty, so the line leaves in one write.
pub(crate) fn announce(addr: ListenAddr) -> io::Result<()> {
    write(&announcement_line(addr))
}

/// Says how far the sidecar is, such as `loading model 42%`: in a line on stdout, which the app, its page and `pillion run` show.
/// Empty words withdraw the last ones.
///
/// Call it at any time, even before [`serve`](crate::serve): where the declaration has `readyTimeoutMaxMs`, each call gives the
/// start more time. The host keeps 256 bytes of the words, and shows the last ones at most four times a second. Control characters
/// become spaces.
///
/// ```
/// for percent in [0, 50, 100] {
///     pillion_server::progress(format!("loading model {percent}%"))?;
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Blocks while stdout is full, which a host never leaves.
///
/// # Errors
/// Returns an error if stdout is closed.
pub fn progress(words: impl AsRef<str>) -> io::Result<()> {
    write(&progress_line(words.as_ref()))
}

fn write(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.flush()
}
