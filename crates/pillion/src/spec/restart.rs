//! When a sidecar is restarted, and how often.

use std::time::Duration;

use serde::Deserialize;

/// When the supervisor restarts a sidecar that has ended. It never restarts after a requested stop. It never restarts after a
/// failed first start either: [`Supervisor::ready`](crate::Supervisor::ready) returns that failure at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Restart {
    /// Never.
    Never,
    /// After a crash or a hang.
    #[default]
    OnFailure,
    /// After a crash, a hang, or an exit with code 0.
    Always,
}

/// How often a sidecar may be restarted before the supervisor gives up and the sidecar counts as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestartLimit {
    /// The supervisor makes at most this many restarts within any span of `window`.
    pub limit: u32,
    /// The length of the span. After being ready for this long, the sidecar is restarted without delay again.
    pub window: Duration,
}

impl RestartLimit {
    /// At most `limit` restarts within `window`.
    #[must_use]
    pub const fn new(limit: u32, window: Duration) -> Self {
        Self { limit, window }
    }
}

impl Default for RestartLimit {
    /// 4 restarts within 60 s.
    fn default() -> Self {
        Self::new(4, Duration::from_secs(60))
    }
}
