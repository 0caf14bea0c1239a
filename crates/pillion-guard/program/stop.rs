//! How the sidecar is asked to stop.

use std::{
    ffi::{OsStr, c_int},
    os::unix::ffi::OsStrExt,
};

/// The declared request, as the supervisor passes it: `SIGNAL,SCOPE,STDIN`.
pub(crate) struct StopArgument {
    pub(crate) signal: c_int,
    /// Whether the signal goes to the whole group at once.
    pub(crate) whole_group: bool,
    /// What to write to the leader's stdin instead of a signal to the leader; may be empty.
    pub(crate) stdin: Vec<u8>,
}

impl StopArgument {
    pub(crate) fn parse(argument: &OsStr) -> Option<Self> {
        let mut parts = argument.as_bytes().splitn(3, |byte| *byte == b',');
        let signal = str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        let whole_group = parts.next()? == b"group";
        Some(Self { signal, whole_group, stdin: parts.next()?.to_vec() })
    }
}
