//! The field `control`: what other programs of the user may do.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// What other programs of the same user may do with the sidecars of a running app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlConfig {
    /// Nothing: the app opens no control socket.
    Off,
    /// Look at states and output.
    #[default]
    Read,
    /// Restart sidecars as well.
    Full,
}

impl<'de> Deserialize<'de> for ControlConfig {
    fn deserialize<D: Deserializer<'de>>(declared: D) -> Result<Self, D::Error> {
        struct FalseOrWord;

        impl de::Visitor<'_> for FalseOrWord {
            type Value = ControlConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"read\", \"full\", or false")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<ControlConfig, E> {
                if on {
                    Err(E::invalid_value(de::Unexpected::Bool(on), &self))
                } else {
                    Ok(ControlConfig::Off)
                }
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<ControlConfig, E> {
                match word {
                    "read" => Ok(ControlConfig::Read),
                    "full" => Ok(ControlConfig::Full),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }

        declared.deserialize_any(FalseOrWord)
    }
}
