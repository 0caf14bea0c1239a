//! The level of a line of output.

use pillion_guard::log::level as recognised;
use serde::{Deserialize, Serialize};

/// How severe a line is, as its text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// `TRACE`.
    Trace,
    /// `DEBUG`.
    Debug,
    /// `INFO`, and `NOTICE`.
    Info,
    /// `WARN` and `WARNING`.
    Warn,
    /// `ERROR`, and all that is worse: `FATAL`, `CRITICAL`, `PANIC`.
    Error,
}

impl Level {
    /// The level that a line says, if it says one. Recognised are the JSON of tracing and pino, the formats of Python's logging, logfmt,
    /// klog, names in brackets, and plain words such as `ERROR`; `docs/logs.md` in the repository has the list. Colours do not matter.
    ///
    /// ```
    /// use pillion::Level;
    ///
    /// assert_eq!(Level::of("2026-01-01 00:00:00,123 - app - ERROR - no database"), Some(Level::Error));
    /// assert_eq!(Level::of(r#"{"level":30,"msg":"up"}"#), Some(Level::Info));
    /// assert_eq!(Level::of("an error occurred"), None);
    /// ```
    #[must_use]
    pub fn of(line: &str) -> Option<Self> {
        Some(match recognised::level(line.as_bytes())? {
            recognised::Level::Trace => Self::Trace,
            recognised::Level::Debug => Self::Debug,
            recognised::Level::Info => Self::Info,
            recognised::Level::Warn => Self::Warn,
            recognised::Level::Error => Self::Error,
        })
    }
}
