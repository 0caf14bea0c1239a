//! A line of output, as every reader gets it.
//!
//! The documentation of the fields is copied into the TypeScript types, so it names no Rust item.

use std::borrow::Cow;

use pillion_guard::log_lines::ansi;
use serde::{Deserialize, Serialize};

use super::level::Level;
use crate::status::OutputStream;

/// A line of a sidecar's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[non_exhaustive]
pub struct LogEntry {
    /// The number of the line, from 1: it counts the lines of both streams and of all runs since the app started. Lines that a reader
    /// missed are exactly those whose numbers it did not get.
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub seq: u64,
    /// The time when the app read the line, in milliseconds since the Unix epoch.
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub at: u64,
    /// The run that wrote the line: the runs of a sidecar are counted from 1 since the app started.
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub run: u64,
    /// The stream that the sidecar wrote to.
    pub stream: OutputStream,
    /// How severe the line is, if its text says so, and if the reader asked for levels.
    pub level: Option<Level>,
    /// The line without its newline, as a terminal shows it: the part after its last carriage return, with its colours. Invalid UTF-8 is
    /// replaced by U+FFFD, and a note marks a cut line.
    pub text: String,
}

impl LogEntry {
    /// The text without colours and other control sequences (ECMA-48).
    #[must_use]
    pub fn plain_text(&self) -> Cow<'_, str> {
        ansi::strip(&self.text)
    }

    /// The text for a terminal that shows colours: with them, and without all other control sequences and control characters, which
    /// could move its cursor, set its title or its clipboard, or clear it. Colours end with the text.
    #[must_use]
    pub fn terminal_text(&self) -> Cow<'_, str> {
        ansi::keep_colors(&self.text)
    }
}

/// What a reader of a sidecar's output receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Log {
    /// Lines, oldest first.
    #[non_exhaustive]
    Lines {
        /// The lines, at least one.
        entries: Vec<LogEntry>,
    },
    /// A line that has no newline yet, such as a prompt or a progress bar, as a terminal shows it now. A later line of the same run and
    /// stream replaces it, and so does a later entry of this kind.
    #[non_exhaustive]
    Unfinished {
        /// The run that wrote it.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        run: u64,
        /// The stream that the sidecar wrote to.
        stream: OutputStream,
        /// The text after the last carriage return.
        text: String,
    },
    /// The reader was too slow, and these lines are not kept any more.
    #[non_exhaustive]
    Missed {
        /// The number of missed lines, at least 1.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        lines: u64,
    },
}

/// Which lines of a sidecar a reader wants. The default is all lines that are kept, and then those to come.
///
/// ```
/// use pillion::LogQuery;
///
/// let query = LogQuery::default().tail(200).levels(true);
/// let only_new = LogQuery::default().tail(0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LogQuery {
    /// How many of the kept lines come at most, the newest ones; all if it is `None`.
    pub tail: Option<u64>,
    /// The kept lines come only if the app read them at or after this time, in milliseconds since the Unix epoch.
    pub since: Option<u64>,
    /// Whether the lines to come follow; `true` by default. Otherwise the stream ends after the lines that were kept when
    /// it began.
    pub follow: bool,
    /// Whether each entry has its level; `false` by default.
    pub levels: bool,
    /// Whether the text keeps its colours and other control sequences; `true` by default.
    pub ansi: bool,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self { tail: None, since: None, follow: true, levels: false, ansi: true }
    }
}

impl LogQuery {
    /// Limits the kept lines to the newest `lines`. With 0, only lines to come are wanted.
    #[must_use]
    pub fn tail(mut self, lines: u64) -> Self {
        self.tail = Some(lines);
        self
    }

    /// Limits the kept lines to those that were read at or after this time, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn since(mut self, at: u64) -> Self {
        self.since = Some(at);
        self
    }

    /// Sets whether lines to come follow the kept ones.
    #[must_use]
    pub fn follow(mut self, follow: bool) -> Self {
        self.follow = follow;
        self
    }

    /// Sets whether each entry has its level. Only then the level is looked for.
    #[must_use]
    pub fn levels(mut self, levels: bool) -> Self {
        self.levels = levels;
        self
    }

    /// Sets whether the text keeps its colours.
    #[must_use]
    pub fn ansi(mut self, ansi: bool) -> Self {
        self.ansi = ansi;
        self
    }

    /// The text as the reader wants it.
    pub(super) fn text(&self, text: String) -> String {
        if self.ansi {
            return text;
        }
        match ansi::strip(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(plain) => plain,
        }
    }
}
