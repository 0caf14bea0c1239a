//! The name of the named pipe that replaces the inherited socket on Windows, where a process cannot inherit a listener.

use std::{fmt, str::FromStr};

use crate::environment::{EnvironmentError, parse_16_bytes};

/// The prefix of each name: a pipe of this machine, neither a file nor a share.
const PREFIX: &str = r"\\.\pipe\pillion-";

/// The name of the pipe that one run of a sidecar creates: 128 random bits, so that no other program can create it first.
///
/// Its text is `\\.\pipe\pillion-` and 32 lower-case hexadecimal digits, as `CreateFile` and `CreateNamedPipe` take it. The
/// name is secret only until the pipe exists: every program can list the names of pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipeName([u8; 16]);

impl PipeName {
    /// Creates a name from 16 bytes. Take them from the operating system's random source.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for PipeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for PipeName {
    type Err = EnvironmentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix(PREFIX).and_then(parse_16_bytes).map(Self).ok_or(EnvironmentError::Pipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_from_its_text() {
        let name = PipeName::from_bytes([7, 0, 255, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(name.to_string(), r"\\.\pipe\pillion-0700ff100102030405060708090a0b0c");
        assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn only_pipes_of_this_machine_and_protocol_parse() {
        let digits = "0123456789abcdef".repeat(2);
        for wrong in [
            String::new(),
            digits.clone(),
            format!(r"C:\pillion-{digits}"),
            format!(r"\\.\pipe\{digits}"),
            format!(r"\\server\pipe\pillion-{digits}"),
            format!(r"\\.\pipe\pillion-{digits}0"),
            format!(r"\\.\pipe\pillion-{}", &digits[1..]),
            format!(r"\\.\pipe\pillion-{}", digits.to_uppercase()),
            format!(r"\\.\pipe\pillion-..\{digits}"),
        ] {
            assert_eq!(wrong.parse::<PipeName>(), Err(EnvironmentError::Pipe), "{wrong}");
        }
    }
}
