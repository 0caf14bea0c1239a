//! The wall clock, which is only shown: it can be set back.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time since the Unix epoch, in milliseconds.
#[expect(clippy::disallowed_methods, reason = "it is only shown")]
pub(crate) fn now_ms() -> u64 {
    // A clock before 1970 is wrong; 0 shows it.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
