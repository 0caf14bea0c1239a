//! Output as text, for display.

use serde::Serialize;

use crate::{output::OutputStream, report::events::SidecarEvent};

/// Output as text, or the number of lost events.
///
/// ```no_run
/// # async fn example(mut events: pillion::Events) {
/// use pillion::Log;
///
/// while let Some(event) = events.next().await {
///     match Log::of(&event) {
///         Some(Log::Stdout { lines, .. } | Log::Stderr { lines, .. }) => println!("{}", lines.join("\n")),
///         Some(Log::Missed { events, .. }) => println!("({events} events were lost)"),
///         _ => {}
///     }
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "camelCase")]
#[non_exhaustive]
pub enum Log {
    /// Lines of standard output, oldest first.
    #[non_exhaustive]
    Stdout {
        /// The lines without their newlines.
        lines: Vec<String>,
    },
    /// Lines of standard error, oldest first.
    #[non_exhaustive]
    Stderr {
        /// The lines without their newlines.
        lines: Vec<String>,
    },
    /// A line that has no newline yet, such as a prompt or a progress bar, as a terminal shows it now. A later entry with lines of
    /// the same stream replaces it, and so does a later entry of this kind.
    #[non_exhaustive]
    Unfinished {
        /// The stream that the sidecar wrote to.
        stream: OutputStream,
        /// The text after the last carriage return.
        text: String,
    },
    /// The reader was too slow and lost this many events. Each of them may have held many lines.
    #[non_exhaustive]
    Missed {
        /// The number of lost events, at least 1.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        events: u64,
    },
}

impl Log {
    /// The output in an event, if it holds any, as a terminal shows it: of each line the part after its last carriage return.
    /// Invalid UTF-8 becomes U+FFFD, and a note marks a cut line.
    #[must_use]
    pub fn of(event: &SidecarEvent) -> Option<Self> {
        match event {
            SidecarEvent::Output(batch) if !batch.is_empty() => {
                let lines = batch.lines().map(|line| line.text()).collect();
                Some(match batch.stream {
                    OutputStream::Stdout => Self::Stdout { lines },
                    OutputStream::Stderr => Self::Stderr { lines },
                })
            }
            SidecarEvent::Missed(events) => Some(Self::Missed { events: *events }),
            SidecarEvent::Unfinished(line) => {
                Some(Self::Unfinished { stream: line.stream, text: line.text.clone() })
            }
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
    fn only_output_and_lost_events_become_log_entries() {
        let told = |stream, text: &[u8]| Log::of(&SidecarEvent::Output(Arc::new(batch(stream, text))));
        let lines = vec!["café".to_owned(), "\u{fffd}".to_owned()];
        assert_eq!(told(OutputStream::Stderr, b"caf\xc3\xa9\n\xff\n"), Some(Log::Stderr { lines }));
        let lines = vec![String::new()];
        assert_eq!(told(OutputStream::Stdout, b"\n"), Some(Log::Stdout { lines }), "an empty line is a line");
        assert_eq!(told(OutputStream::Stdout, b"half a line"), None);
        assert_eq!(Log::of(&SidecarEvent::Missed(3)), Some(Log::Missed { events: 3 }));
        assert_eq!(Log::of(&SidecarEvent::Notice("nothing it wrote".to_owned())), None);
    }
}
