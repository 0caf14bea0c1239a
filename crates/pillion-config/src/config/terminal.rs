//! The field `terminal`: whether the app shows the output of its sidecars on stderr.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// Whether the app shows the output of its sidecars, and what happens to them, on its stderr.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TerminalConfig {
    /// In a debug build alone, as `tauri dev` makes it.
    #[default]
    Auto,
    /// In every build.
    On,
    /// In no build.
    Off,
}

impl<'de> Deserialize<'de> for TerminalConfig {
    fn deserialize<D: Deserializer<'de>>(declared: D) -> Result<Self, D::Error> {
        struct AutoOrBool;

        impl de::Visitor<'_> for AutoOrBool {
            type Value = TerminalConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\", true, or false")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<TerminalConfig, E> {
                Ok(if on { TerminalConfig::On } else { TerminalConfig::Off })
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<TerminalConfig, E> {
                match word {
                    "auto" => Ok(TerminalConfig::Auto),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }

        declared.deserialize_any(AutoOrBool)
    }
}
