//! The environment variables that the host sets for the sidecar.

use std::{ffi::OsString, fmt, num::NonZeroU16};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{Token, announcement::parse_port};

/// The version of the protocol. A host that speaks this protocol always sets it.
pub const PROTOCOL: &str = "PILLION_PROTOCOL";
/// The version that this crate implements.
pub const PROTOCOL_VERSION: &str = "1";
/// The major version of [`PROTOCOL_VERSION`]. Sides of different major versions do not understand each other.
pub const PROTOCOL_MAJOR: u32 = 1;
/// The instance of this run: 32 lower-case hexadecimal digits. The sidecar returns it in `/health`.
pub const INSTANCE: &str = "PILLION_INSTANCE";
/// The token of this run: 64 lower-case hexadecimal digits. A sidecar that reads it removes it from its environment.
pub const TOKEN: &str = "PILLION_TOKEN";
/// The named pipe to create and serve instead of a port, on Windows: a [`PipeName`](crate::PipeName). A sidecar that reads it
/// removes it from its environment.
pub const PIPE: &str = "PILLION_PIPE";
/// Comma-separated origins whose pages may call the sidecar, as in the `Origin` header (RFC 6454, section 6.1).
pub const ALLOWED_ORIGINS: &str = "PILLION_ALLOWED_ORIGINS";
/// The port to listen on instead of one that the system chooses. A host sets it only if its declaration names a port.
pub const PORT: &str = "PORT";

/// The origins of Tauri's own pages: on macOS and Linux; on Windows and Android; on Windows and Android with
/// `useHttpsScheme`.
pub const TAURI_ORIGINS: [&str; 3] =
    ["tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"];

/// A random value that identifies one run of a sidecar: 128 bits, written as 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Instance([u8; 16]);

impl Instance {
    /// Creates an instance from 16 bytes. Take them from the operating system's random source.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Instance {
    type Err = EnvironmentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_16_bytes(text).map(Self).ok_or_else(|| EnvironmentError::Instance(text.to_owned()))
    }
}

/// Parses exactly 32 lower-case hexadecimal digits.
pub(crate) fn parse_16_bytes(text: &str) -> Option<[u8; 16]> {
    let digits = text.len() == 32 && text.bytes().all(is_hexadecimal);
    digits.then(|| u128::from_str_radix(text, 16).map(u128::to_be_bytes).ok()).flatten()
}

/// Whether a byte is a lower-case hexadecimal digit. The protocol allows no upper case.
pub(crate) fn is_hexadecimal(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

impl TryFrom<String> for Instance {
    type Error = EnvironmentError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Instance> for String {
    fn from(instance: Instance) -> Self {
        instance.to_string()
    }
}

/// The major version in a version of the protocol: `2` in `2` and in `2.1`. `None` if the text is not a version: two plain decimals at
/// most, without leading zeros.
#[must_use]
pub fn protocol_major(version: &str) -> Option<u32> {
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    let number = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        if plain { text.parse().ok() } else { None }
    };
    number(minor).and_then(|_: u32| number(major))
}

/// An environment variable has an invalid value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// The host speaks another major version of the protocol. Holds the value of `PILLION_PROTOCOL`.
    #[error(
        "the host speaks version {0:?} of Pillion's protocol (PILLION_PROTOCOL), and this sidecar speaks version {PROTOCOL_VERSION}: \
         update the older one of the two, so that both speak the same major version; without a host, unset the variable"
    )]
    Protocol(String),
    /// `PORT` is not a port. Holds its value.
    #[error("PORT is {0:?}: set it to a number from 1 to 65535, or unset it to let the system choose")]
    Port(String),
    /// `PILLION_INSTANCE` is not an instance. Holds its value.
    #[error(
        "PILLION_INSTANCE is {0:?}, not 32 lower-case hexadecimal digits: unset it, only a Pillion host sets it"
    )]
    Instance(String),
    /// `PILLION_TOKEN` is not a token. Its value may be part of a secret, so the error does not hold it.
    #[error("PILLION_TOKEN is not 64 lower-case hexadecimal digits: unset it, only a Pillion host sets it")]
    Token,
    /// `PILLION_PIPE` is not the name of a pipe of this protocol.
    #[error(
        r"PILLION_PIPE is not \\.\pipe\pillion- and 32 lower-case hexadecimal digits: unset it, only a Pillion host sets it"
    )]
    Pipe,
}

/// The values that the host set in the sidecar's environment.
///
/// ```
/// use pillion_protocol::HostEnvironment;
///
/// let environment = HostEnvironment::read(|name| (name == "PORT").then(|| "4242".into()))?;
/// assert_eq!(environment.port.map(u16::from), Some(4242));
/// assert_eq!(environment.token, None);
/// # Ok::<(), pillion_protocol::environment::EnvironmentError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostEnvironment {
    /// The port to listen on. `None`: the system chooses.
    pub port: Option<NonZeroU16>,
    /// The instance to return in `/health`. `None`: the program runs without a host.
    pub instance: Option<Instance>,
    /// The token that every request has to carry. `None`: requests need no token.
    pub token: Option<Token>,
    /// The origins whose pages may call. `None`: the host did not name any.
    pub allowed_origins: Option<Vec<String>>,
}

impl HostEnvironment {
    /// Reads the environment through `get`. Pass [`std::env::var_os`] outside tests.
    ///
    /// An empty value counts as unset, because shells and container files often set variables to the empty string.
    ///
    /// # Errors
    /// Returns an error if the host speaks another major version of the protocol, if `PORT` is not a port, the instance not an instance, or
    /// the token not a token.
    pub fn read(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, EnvironmentError> {
        let text = |name| {
            get(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned())
        };
        if let Some(version) = text(PROTOCOL)
            && protocol_major(&version) != Some(PROTOCOL_MAJOR)
        {
            return Err(EnvironmentError::Protocol(version));
        }
        let port = match text(PORT) {
            Some(port) => Some(parse_port(port.as_bytes()).ok_or(EnvironmentError::Port(port))?),
            None => None,
        };
        let instance = text(INSTANCE).map(|instance| instance.parse()).transpose()?;
        let token = get(TOKEN)
            .filter(|value| !value.is_empty())
            .map(|value| match value.into_string().map(Zeroizing::new) {
                Ok(text) => text.parse(),
                Err(_) => Err(EnvironmentError::Token),
            })
            .transpose()?;
        let allowed_origins = text(ALLOWED_ORIGINS)
            .map(|list| list.split(',').map(|origin| origin.trim().to_owned()).collect());
        Ok(Self { port, instance, token, allowed_origins })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<HostEnvironment, EnvironmentError> {
        HostEnvironment::read(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn an_empty_environment_sets_nothing() {
        assert_eq!(read(&[]), Ok(HostEnvironment::default()));
        assert_eq!(read(&[("PORT", "")]), Ok(HostEnvironment::default()));
    }

    #[test]
    fn an_invalid_port_is_an_error_with_its_value() {
        assert_eq!(read(&[("PORT", "8080")]).unwrap().port, NonZeroU16::new(8080));
        for wrong in ["abc", "0"] {
            assert_eq!(read(&[("PORT", wrong)]), Err(EnvironmentError::Port(wrong.into())));
        }
    }

    #[test]
    fn a_version_of_the_protocol_has_a_major_version() {
        assert_eq!(protocol_major(PROTOCOL_VERSION), Some(PROTOCOL_MAJOR));
        for (version, major) in [("2", 2), ("1.0", 1), ("12.34", 12), ("0", 0)] {
            assert_eq!(protocol_major(version), Some(major));
        }
        for wrong in ["", ".", "1.", ".1", "01", "1.02", "+1", "1 ", "v1", "1.2.3", "99999999999"] {
            assert_eq!(protocol_major(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_instance_reads_back_from_its_text() {
        let instance = Instance::from_bytes([7, 0, 255, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(instance.to_string(), "0700ff100102030405060708090a0b0c");
        assert_eq!(read(&[("PILLION_INSTANCE", &instance.to_string())]).unwrap().instance, Some(instance));
        for wrong in ["x", "0700FF100102030405060708090A0B0C", "+700ff100102030405060708090a0b0c"] {
            assert!(read(&[("PILLION_INSTANCE", wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_read_and_never_printed() {
        let secret = "0123456789abcdef".repeat(4);
        let environment = read(&[("PILLION_TOKEN", &secret)]).unwrap();
        assert_eq!(environment.token.as_ref().map(Token::reveal), Some(secret.as_str()));
        assert!(!format!("{environment:?}").contains("0123"), "{environment:?}");
        let (short, upper, long) = (&secret[1..], secret.to_uppercase(), format!("{secret}0"));
        for wrong in [short, upper.as_str(), long.as_str(), "0123 secret"] {
            let error = read(&[("PILLION_TOKEN", wrong)]).unwrap_err();
            assert!(!format!("{error:?}{error}").contains("0123"), "{error:?}");
        }
        assert_eq!(read(&[("PILLION_TOKEN", "")]).unwrap().token, None);
    }

    #[test]
    fn origins_are_a_comma_separated_list() {
        let environment =
            read(&[("PILLION_ALLOWED_ORIGINS", "tauri://localhost, http://localhost:1420")]).unwrap();
        assert_eq!(environment.allowed_origins.unwrap(), ["tauri://localhost", "http://localhost:1420"]);
    }
}
