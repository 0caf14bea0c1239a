//! The level of a line of output.

use pillion_guard::log_lines::level;
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
        Self::of_bytes(line.as_bytes())
    }

    /// As [`of`](Self::of), for a line in UTF-8.
    pub(super) fn of_bytes(line: &[u8]) -> Option<Self> {
        level::recognise(line).map(|level| match level {
            level::Level::Trace => Self::Trace,
            level::Level::Debug => Self::Debug,
            level::Level::Info => Self::Info,
            level::Level::Warn => Self::Warn,
            level::Level::Error => Self::Error,
        })
    }

    /// The word in a log file.
    pub(super) fn word(self) -> &'static str {
        let level = match self {
            Self::Trace => level::Level::Trace,
            Self::Debug => level::Level::Debug,
            Self::Info => level::Level::Info,
            Self::Warn => level::Level::Warn,
            Self::Error => level::Level::Error,
        };
        level.word()
    }
}
