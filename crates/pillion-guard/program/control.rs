//! The socket to the supervisor.

use std::io::{Read, Write};

use super::sys;

/// Sends a line to the supervisor. Returns false if that is gone.
pub(crate) fn report(line: &str) -> bool {
    sys::control().write_all(format!("{line}\n").as_bytes()).is_ok()
}

/// The next byte from the supervisor; `None` when it is gone.
pub(crate) fn read_command() -> Option<u8> {
    let mut byte = [0];
    match sys::control().read(&mut byte) {
        Ok(1) => Some(byte[0]),
        _ => None,
    }
}

/// The message that follows an `H`.
pub(crate) fn read_message() -> Option<Vec<u8>> {
    const LIMIT: usize = 64 * 1024;
    let mut length = [0; 4];
    sys::control().read_exact(&mut length).ok()?;
    let length = usize::try_from(u32::from_le_bytes(length)).ok().filter(|length| *length <= LIMIT)?;
    let mut message = vec![0; length];
    sys::control().read_exact(&mut message).ok()?;
    Some(message)
}
