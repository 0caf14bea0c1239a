//! The field `port` of a sidecar.

use std::{fmt, num::NonZeroU16};

use pillion::Listen;
use serde::{Deserialize, Deserializer, de};

/// `"announced"`, `"assigned"`, or a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PortConfig(Listen);

impl From<PortConfig> for Listen {
    fn from(PortConfig(listen): PortConfig) -> Self {
        listen
    }
}

impl<'de> Deserialize<'de> for PortConfig {
    fn deserialize<D: Deserializer<'de>>(declared: D) -> Result<Self, D::Error> {
        struct WordOrNumber;

        impl de::Visitor<'_> for WordOrNumber {
            type Value = PortConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"announced\", \"assigned\", or a port from 1 to 65535")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<PortConfig, E> {
                match word {
                    "announced" => Ok(PortConfig(Listen::Announced)),
                    "assigned" => Ok(PortConfig(Listen::Assigned)),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<PortConfig, E> {
                let port = u16::try_from(number).ok().and_then(NonZeroU16::new);
                port.map(|port| PortConfig(Listen::Fixed(port)))
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }
        }

        declared.deserialize_any(WordOrNumber)
    }
}
