//! The field `log` of a sidecar.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
};

use pillion::LogFiles;
use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

/// `false`, `true` as without the field, or the fields of [`LogLimits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogConfig {
    Off,
    Files(LogLimits),
}

/// How much of the output is kept as files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LogLimits {
    /// How large a file may become, in bytes, before the next one begins; 5242880 by default, and 65536 at least.
    max_bytes: Option<NonZeroU64>,
    /// How many files are kept, the present one included; 10 by default.
    max_files: Option<NonZeroU32>,
}

impl LogConfig {
    /// The files in this folder, if there are to be any.
    pub(super) fn files(self, folder: PathBuf) -> Option<LogFiles> {
        let Self::Files(LogLimits { max_bytes, max_files }) = self else { return None };
        let files = LogFiles::new(folder);
        let files = max_bytes.into_iter().fold(files, LogFiles::max_bytes);
        Some(max_files.into_iter().fold(files, LogFiles::max_files))
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self::Files(LogLimits::default())
    }
}

impl<'de> Deserialize<'de> for LogConfig {
    fn deserialize<D: Deserializer<'de>>(declared: D) -> Result<Self, D::Error> {
        struct BoolOrLimits;

        impl<'de> de::Visitor<'de> for BoolOrLimits {
            type Value = LogConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or an object with maxBytes and maxFiles")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<LogConfig, E> {
                Ok(if on { LogConfig::default() } else { LogConfig::Off })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, fields: A) -> Result<LogConfig, A::Error> {
                LogLimits::deserialize(MapAccessDeserializer::new(fields)).map(LogConfig::Files)
            }
        }

        declared.deserialize_any(BoolOrLimits)
    }
}
