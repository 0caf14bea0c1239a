//! Output as text, for whoever shows it to people.

use serde::Serialize;

use crate::{output::Stream, report::events::SidecarEvent};

/// What a sidecar wrote, as text; or how much of that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Log {
    /// Lines of standard output, oldest first.
    Stdout {
        /// Without their newlines.
        lines: Vec<String>,
    },
    /// Lines of standard error, oldest first.
    Stderr {
        /// Without their newlines.
        lines: Vec<String>,
    },
    /// The reader was too slow, and this many events are gone, each of which may have held many lines.
    Missed {
        /// At least one.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        events: u64,
    },
}

impl Log {
    /// What an event says of the output, if anything. Invalid UTF-8 becomes U+FFFD, and a cut line is marked.
    #[must_use]
    pub fn of(event: &SidecarEvent) -> Option<Self> {
        match event {
            SidecarEvent::Output(batch) if !batch.is_empty() => {
                let lines = batch.lines().map(|line| line.text()).collect();
                Some(match batch.stream {
                    Stream::Stdout => Self::Stdout { lines },
                    Stream::Stderr => Self::Stderr { lines },
                })
            }
            SidecarEvent::Missed(events) => Some(Self::Missed { events: *events }),
            SidecarEvent::Output(_) | SidecarEvent::Status(_) | SidecarEvent::Notice(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::output::tests::batch;

    #[test]
    fn output_is_told_as_text_and_nothing_else_is() {
        let told = |stream, text: &[u8]| Log::of(&SidecarEvent::Output(Arc::new(batch(stream, text))));
        let lines = vec!["café".to_owned(), "\u{fffd}".to_owned()];
        assert_eq!(told(Stream::Stderr, b"caf\xc3\xa9\n\xff\n"), Some(Log::Stderr { lines }));
        let lines = vec![String::new()];
        assert_eq!(told(Stream::Stdout, b"\n"), Some(Log::Stdout { lines }), "an empty line is a line");
        assert_eq!(told(Stream::Stdout, b"half a line"), None);
        assert_eq!(Log::of(&SidecarEvent::Missed(3)), Some(Log::Missed { events: 3 }));
        assert_eq!(Log::of(&SidecarEvent::Notice("nothing it wrote".to_owned())), None);
    }
}
