//! Time-outs, intervals and limits that both sides of the protocol use. Each has its only definition here.
//!
//! `docs/protocol.md` states these values in prose. A test of this module compares the two.

use std::time::Duration;

/// How long a sidecar may take to stop, unless the host or the sidecar declares another grace period: 5 seconds.
pub const GRACE_PERIOD: Duration = Duration::from_secs(5);
/// How long a sidecar may take to become ready: 60 seconds.
pub const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one health request may take before the host sends another one on a new connection: 5 seconds.
pub const HEALTH_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// The delay before the second health request of a start: 4 milliseconds. Each further delay is twice as long.
pub const HEALTH_RETRY_DELAY: Duration = Duration::from_millis(4);
/// The longest delay between two health requests of a start: 250 milliseconds.
pub const HEALTH_MAX_RETRY_DELAY: Duration = Duration::from_millis(250);
/// The time between two liveness probes: 10 seconds.
pub const LIVENESS_INTERVAL: Duration = Duration::from_secs(10);
/// How many liveness probes in a row may stay unanswered: 3.
pub const LIVENESS_TOLERANCE: u32 = 3;
/// How long a client of a named pipe waits for a free instance (`ERROR_PIPE_BUSY`): 5 seconds.
pub const PIPE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How many bytes of one output line the host keeps: 8 KiB.
pub const LINE_LIMIT: usize = 8 * 1024;
/// How many bytes the words of a sidecar's progress have: 256.
pub const PROGRESS_LIMIT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/protocol.md`, with line breaks as spaces.
    fn page() -> String {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
        std::fs::read_to_string(page).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_protocol_page_states_these_values() {
        let page = page();
        for (what, value) in [
            ("grace period", format!("{} s", GRACE_PERIOD.as_secs())),
            ("time to become ready", format!("{} s", READY_TIMEOUT.as_secs())),
            ("one health request", format!("{} s", HEALTH_ATTEMPT_TIMEOUT.as_secs())),
            ("first delay between two health requests of a start", millis(HEALTH_RETRY_DELAY)),
            ("longest delay between two health requests of a start", millis(HEALTH_MAX_RETRY_DELAY)),
            ("time between two liveness probes", format!("{} s", LIVENESS_INTERVAL.as_secs())),
            ("unanswered liveness probes in a row", LIVENESS_TOLERANCE.to_string()),
            ("waiting for a free pipe instance", format!("{} s", PIPE_BUSY_TIMEOUT.as_secs())),
            ("bytes kept of one output line", format!("{} KiB", LINE_LIMIT / 1024)),
            ("bytes of the words of progress", PROGRESS_LIMIT.to_string()),
        ] {
            let row = format!("| {what} | {value} |");
            assert!(page.contains(&row), "docs/protocol.md, section 7, lacks this row: {row}");
        }
    }

    fn millis(duration: Duration) -> String {
        format!("{} ms", duration.as_millis())
    }
}
