//! Whether a sidecar that runs on demand is in use.

use std::time::Duration;

/// The use of a sidecar that runs on demand. All times are those of one monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Whether the sidecar is stopped after a time without a use.
    stops_when_idle: bool,
    /// Since when it has been ready and not in use; `None` while it is in use.
    unused_since: Option<Duration>,
}

impl Demand {
    /// A sidecar that is in use, or is not.
    pub(crate) fn new(stops_when_idle: bool, in_use: bool) -> Self {
        Self { stops_when_idle, unused_since: (!in_use).then_some(Duration::ZERO) }
    }

    pub(super) fn set_used(&mut self) {
        self.unused_since = None;
    }

    pub(super) fn set_unused(&mut self, now: Duration) {
        self.unused_since = Some(now);
    }

    /// The sidecar became ready. A start takes no part of the time without a use.
    pub(super) fn set_ready(&mut self, now: Duration) {
        if let Some(since) = &mut self.unused_since {
            *since = now;
        }
    }

    pub(super) fn is_in_use(self) -> bool {
        self.unused_since.is_none()
    }

    /// When the time without a use began that ends with a stop. `None` if no use or no stop is missing.
    pub(super) fn idle_since(self) -> Option<Duration> {
        self.unused_since.filter(|_| self.stops_when_idle)
    }
}
