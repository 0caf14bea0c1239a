//! What the host gives to the sidecar in its environment.

use std::{ffi::OsString, fmt, num::NonZeroU16};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{Token, announcement::parse_port};

/// The protocol's version; present whenever a host of this protocol started the program.
pub const PROTOCOL: &str = "PILLION_PROTOCOL";
/// The version that this crate speaks.
pub const PROTOCOL_VERSION: &str = "1";
/// The nonce of this run, 32 lower-case hexadecimal digits, echoed by `/health`.
pub const INSTANCE: &str = "PILLION_INSTANCE";
/// The token of this run, 64 lower-case hexadecimal digits. Whoever reads it removes it from the environment.
pub const TOKEN: &str = "PILLION_TOKEN";
/// The named pipe to create and serve instead of a port, on Windows: a [`PipeName`](crate::PipeName). Whoever reads it removes it
/// from the environment.
pub const PIPE: &str = "PILLION_PIPE";
/// Comma-separated origins whose pages may call the sidecar, as in the `Origin` header (RFC 6454, section 6.1).
pub const ALLOWED_ORIGINS: &str = "PILLION_ALLOWED_ORIGINS";
/// The port to listen on instead of an OS-chosen one. Read by the sidecar; a host sets it only when told to.
pub const PORT: &str = "PORT";

/// Where Tauri's own pages come from: macOS and Linux; Windows and Android; the same with `useHttpsScheme`.
pub const TAURI_ORIGINS: [&str; 3] =
    ["tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"];

/// The nonce of one run of a sidecar: 128 bits, written as 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Instance([u8; 16]);

impl Instance {
    /// A nonce of these bytes, which the caller takes from the operating system's random source.
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
        parse_nonce(text).map(Self).ok_or_else(|| EnvironmentError::Instance(text.to_owned()))
    }
}

/// The 16 bytes that 32 lower-case hexadecimal digits stand for.
pub(crate) fn parse_nonce(text: &str) -> Option<[u8; 16]> {
    let digits = text.len() == 32 && text.bytes().all(is_hexadecimal);
    digits.then(|| u128::from_str_radix(text, 16).map(u128::to_be_bytes).ok()).flatten()
}

/// Whether a byte is a digit of lower-case hexadecimal, the only spelling that this protocol knows.
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

/// A value in the environment that cannot be what its name promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// `PORT` is set, but not to a port.
    #[error("PORT is {0:?}: set it to a number from 1 to 65535, or unset it to let the system choose")]
    Port(String),
    /// `PILLION_INSTANCE` is set, but not to a nonce.
    #[error("PILLION_INSTANCE is {0:?}, not 32 hexadecimal digits: only a Pillion host should set it")]
    Instance(String),
    /// `PILLION_TOKEN` is set, but not to a token. What it is set to may be part of one, and is not repeated.
    #[error("PILLION_TOKEN is not 64 hexadecimal digits: only a Pillion host should set it")]
    Token,
    /// `PILLION_PIPE` is set, but not to the name of a pipe.
    #[error(
        r"PILLION_PIPE is not \\.\pipe\pillion- and 32 hexadecimal digits: only a Pillion host should set it"
    )]
    Pipe,
}

/// What a sidecar was given by whoever started it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostEnvironment {
    /// The port to listen on; `None` lets the system choose.
    pub port: Option<NonZeroU16>,
    /// The nonce to echo in `/health`.
    pub instance: Option<Instance>,
    /// The secret that every request has to carry, or `None` where everybody may call.
    pub token: Option<Token>,
    /// Origins that may call, or `None` when the host said nothing.
    pub allowed_origins: Option<Vec<String>>,
}

impl HostEnvironment {
    /// Reads the environment through `get`, which is [`std::env::var_os`] outside tests.
    ///
    /// `PORT` set to the empty string counts as unset, as shells and container files often leave it.
    ///
    /// # Errors
    /// Where `PORT` is no port, the nonce no nonce, or the token no token.
    pub fn read(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, EnvironmentError> {
        let text = |name| {
            get(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned())
        };
        let port = match text(PORT) {
            Some(port) => Some(parse_port(port.as_bytes()).ok_or(EnvironmentError::Port(port))?),
            None => None,
        };
        let instance = text(INSTANCE).map(|nonce| nonce.parse()).transpose()?;
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
    fn an_empty_environment_leaves_everything_to_the_sidecar() {
        assert_eq!(read(&[]), Ok(HostEnvironment::default()));
        assert_eq!(read(&[("PORT", "")]), Ok(HostEnvironment::default()));
    }

    #[test]
    fn a_port_is_a_port_or_a_clear_refusal() {
        assert_eq!(read(&[("PORT", "8080")]).unwrap().port, NonZeroU16::new(8080));
        for wrong in ["abc", "70000", "-1", "0", "+80", " 80"] {
            assert_eq!(read(&[("PORT", wrong)]), Err(EnvironmentError::Port(wrong.into())));
        }
    }

    #[test]
    fn a_nonce_survives_the_journey() {
        let nonce = Instance::from_bytes([7, 0, 255, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(nonce.to_string(), "0700ff100102030405060708090a0b0c");
        assert_eq!(read(&[("PILLION_INSTANCE", &nonce.to_string())]).unwrap().instance, Some(nonce));
        for wrong in ["x", "0700FF100102030405060708090A0B0C", "+700ff100102030405060708090a0b0c"] {
            assert!(read(&[("PILLION_INSTANCE", wrong)]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_arrives_and_is_shown_to_nobody() {
        let secret = "0123456789abcdef".repeat(4);
        let given = read(&[("PILLION_TOKEN", &secret)]).unwrap();
        assert_eq!(given.token.as_ref().map(Token::reveal), Some(secret.as_str()));
        assert!(!format!("{given:?}").contains("0123"), "{given:?}");
        let (short, upper, long) = (&secret[1..], secret.to_uppercase(), format!("{secret}0"));
        for wrong in [short, upper.as_str(), long.as_str(), "0123 secret"] {
            let error = read(&[("PILLION_TOKEN", wrong)]).unwrap_err();
            assert!(!format!("{error:?}{error}").contains("0123"), "{error:?}");
        }
        assert_eq!(read(&[("PILLION_TOKEN", "")]).unwrap().token, None);
    }

    #[test]
    fn origins_are_a_list() {
        let given = read(&[("PILLION_ALLOWED_ORIGINS", "tauri://localhost, http://localhost:1420")]).unwrap();
        assert_eq!(given.allowed_origins.unwrap(), ["tauri://localhost", "http://localhost:1420"]);
    }
}
