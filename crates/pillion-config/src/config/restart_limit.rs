//! The field `restartLimit` of a sidecar.

use std::{num::NonZeroU64, time::Duration};

use serde::Deserialize;

/// How often a sidecar is restarted before it has failed for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RestartLimitConfig {
    /// The maximum number of restarts within the window; 4 by default.
    limit: Option<u32>,
    /// The length of the window, in milliseconds; 60000 by default.
    window_ms: Option<NonZeroU64>,
}

impl From<RestartLimitConfig> for pillion::RestartLimit {
    fn from(RestartLimitConfig { limit, window_ms }: RestartLimitConfig) -> Self {
        let default = Self::default();
        Self::new(
            limit.unwrap_or(default.limit),
            window_ms.map_or(default.window, |ms| Duration::from_millis(ms.get())),
        )
    }
}
