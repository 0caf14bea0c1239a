//! The token of a run, and the proof that a server holds it.
//!
//! Every request carries the token (RFC 6750). A program that squats on the port between announcement and first request
//! must not receive it. So the host first sends a [`Challenge`]. The sidecar answers with an HMAC (RFC 2104) of the challenge
//! under the token, which only a holder of the token can compute. The HMAC covers the listen address too, so a squatter
//! cannot obtain the answer from the real sidecar at another address.

use std::{fmt, str::FromStr};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    ListenAddr,
    environment::{EnvironmentError, is_hexadecimal, parse_16_bytes},
};

/// The header of a health request that carries the [`Challenge`].
pub const CHALLENGE_HEADER: &str = "pillion-challenge";
/// The header of the answer that carries the proof: see [`Token::prove`].
pub const PROOF_HEADER: &str = "pillion-proof";

/// The secret of one run of a sidecar: 256 bits, written as 64 lower-case hexadecimal digits.
///
/// Comparison takes constant time, and dropping a token overwrites it in memory. Only [`reveal`](Self::reveal) shows the
/// digits: `Debug` does not print them, and the type has no `Display`.
///
/// ```
/// use pillion_protocol::{Challenge, ListenAddr, Token};
///
/// let token = Token::from_bytes(&[0xa5; 32]);
/// let (addr, challenge) = (ListenAddr::Local, Challenge::from_bytes([1; 16]));
/// let proof = token.prove(addr, challenge);
/// assert!(token.is_proved_by(proof.as_bytes(), addr, challenge));
/// ```
#[derive(Clone)]
pub struct Token(Zeroizing<Box<str>>);

impl Token {
    /// The number of digits of a token.
    pub const DIGITS: usize = 64;

    /// Creates a token from 32 bytes. Take them from the operating system's random source, and overwrite them afterwards.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(hexadecimal(bytes).into_boxed_str()))
    }

    /// The digits. The caller is responsible for where the secret goes.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `presented` equals the digits of this token. Takes the same time for every guess of the right length.
    #[must_use]
    pub fn is(&self, presented: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(presented).into()
    }

    /// The proof that the server at `addr` returns for `challenge`: 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn prove(&self, addr: ListenAddr, challenge: Challenge) -> String {
        hexadecimal(&self.sign(addr, challenge).finalize().into_bytes())
    }

    /// Whether `proof` equals the result of [`prove`](Self::prove). Takes constant time.
    #[must_use]
    pub fn is_proved_by(&self, proof: &[u8], addr: ListenAddr, challenge: Challenge) -> bool {
        self.prove(addr, challenge).as_bytes().ct_eq(proof).into()
    }

    fn sign(&self, addr: ListenAddr, challenge: Challenge) -> Hmac<Sha256> {
        let mut hmac =
            Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("HMAC takes keys of any length");
        hmac.update(format!("pillion-health {} {challenge}", addr.authority()).as_bytes());
        hmac
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.0.as_bytes())
    }
}

impl Eq for Token {}

impl FromStr for Token {
    type Err = EnvironmentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != Self::DIGITS || !text.bytes().all(is_hexadecimal) {
            return Err(EnvironmentError::Token);
        }
        Ok(Self(Zeroizing::new(text.into())))
    }
}

/// The challenge that a host sends so that a server proves that it holds the token: 128 bits, used once, written as 32
/// lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge([u8; 16]);

impl Challenge {
    /// Creates a challenge from 16 bytes. Take them from the operating system's random source.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the value of [`CHALLENGE_HEADER`]. Returns `None` if it is not a challenge.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        parse_16_bytes(std::str::from_utf8(value).ok()?).map(Self)
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.0))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // The capacity is final: a string that grows would leave parts of the secret in freed memory.
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    fn port(port: u16) -> ListenAddr {
        ListenAddr::Tcp(NonZeroU16::new(port).unwrap())
    }

    #[test]
    fn a_token_equals_only_its_own_digits() {
        let token = Token::from_bytes(&[0xa5; 32]);
        assert_eq!(token.reveal(), "a5".repeat(32));
        assert!(token.is("a5".repeat(32).as_bytes()));
        let (upper, short, long) = ("A5".repeat(32), "a5".repeat(31), "a5".repeat(33));
        let last = format!("{}a4", "a5".repeat(31));
        for other in ["", &upper, &short, &long, &last] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
        assert_eq!(token.reveal().parse(), Ok(token));
    }

    #[test]
    fn debug_does_not_print_a_token() {
        let token = Token::from_bytes(&[0xa5; 32]);
        let shown = format!("{token:?} {:?} {:#?}", Some(&token), [&token]);
        assert!(!shown.contains("a5"), "{shown}");
    }

    #[test]
    fn a_proof_equals_the_output_of_openssl() {
        // printf 'pillion-health 127.0.0.1:4242 000102030405060708090a0b0c0d0e0f' |
        //   openssl dgst -sha256 -hmac a5a5…a5
        let token = Token::from_bytes(&[0xa5; 32]);
        let challenge = Challenge::read(b"000102030405060708090a0b0c0d0e0f").unwrap();
        let proof = token.prove(port(4242), challenge);
        assert_eq!(proof, "075d8c258d7f4bdad54f7efb6ff7d6ec756b38a443da989440c833fa0e55f806");
        assert!(token.is_proved_by(proof.as_bytes(), port(4242), challenge));
        // printf 'pillion-health localhost 000102030405060708090a0b0c0d0e0f' | openssl dgst -sha256 -hmac a5a5…a5
        assert_eq!(
            token.prove(ListenAddr::Local, challenge),
            "a03b2937efaf949e270b1e6240d59a75e50d2d2b9cbb292119037d60b818feb8"
        );
    }

    #[test]
    fn a_proof_is_bound_to_its_token_address_and_challenge() {
        let (token, other) = (Token::from_bytes(&[1; 32]), Token::from_bytes(&[2; 32]));
        let (challenge, later) = (Challenge::from_bytes([3; 16]), Challenge::from_bytes([4; 16]));
        let proof = token.prove(port(80), challenge);
        assert!(!other.is_proved_by(proof.as_bytes(), port(80), challenge));
        assert!(!token.is_proved_by(proof.as_bytes(), port(81), challenge));
        assert!(!token.is_proved_by(proof.as_bytes(), ListenAddr::Local, challenge));
        assert!(!token.is_proved_by(proof.as_bytes(), port(80), later));
        assert!(!token.is_proved_by(b"", port(80), challenge));
    }

    #[test]
    fn an_invalid_challenge_is_not_read() {
        for wrong in [
            b"".as_slice(),
            b"00",
            &[b'0'; 31],
            &[b'0'; 33],
            &[b'A'; 32],
            &[0xff; 32],
            b"+00102030405060708090a0b0c0d0e0f",
        ] {
            assert_eq!(Challenge::read(wrong), None, "{}", wrong.escape_ascii());
        }
    }
}
