//! How the liveness of a ready sidecar is checked.

use std::time::Duration;

use pillion_protocol::defaults;

/// How the supervisor checks that a ready sidecar still answers: it sends a health request at regular intervals.
///
/// An answer counts however late it comes, and any HTTP answer counts, so that a sidecar under load does not count as hung. When
/// this process itself did not run for a while (the computer slept, or a debugger stopped it), the count starts again from 0.
///
/// On Linux a sidecar that does not answer while its processes use the processor, or while they have a client's request to answer
/// on its port, is busy, not hung, up to [`busy_limit`](Self::busy_limit). One whose port refuses connections, or whose worker
/// process has ended, is asked every second, and is hung after 5 unanswered requests, or `tolerance` if that is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Liveness {
    /// The time between two requests. Sidecars with the same interval are asked at the same moments, so that a process with many sidecars
    /// wakes as rarely as one with a single sidecar. The first request therefore comes half an interval to one and a half after the sidecar
    /// became ready.
    pub interval: Duration,
    /// The sidecar counts as hung when this many requests are unanswered and the next one is due. 0 counts as 1.
    pub tolerance: u32,
    /// How long a sidecar may work, or have clients' requests to answer, without an answer to the health requests before it
    /// counts as hung; 5 minutes by default. Linux only: elsewhere the supervisor cannot tell work from silence.
    pub busy_limit: Duration,
    /// Whether the supervisor stops and restarts a hung sidecar; `true` by default. Otherwise the sidecar is unhealthy until it
    /// answers again: a process that a debugger holds does not answer either.
    pub restart: bool,
}

impl Liveness {
    /// A request every `interval`; `tolerance` unanswered requests mean that the sidecar hangs.
    #[must_use]
    pub const fn new(interval: Duration, tolerance: u32) -> Self {
        Self { interval, tolerance, busy_limit: Duration::from_secs(300), restart: true }
    }

    /// Sets how long a sidecar may work without an answer.
    #[must_use]
    pub const fn with_busy_limit(mut self, busy_limit: Duration) -> Self {
        self.busy_limit = busy_limit;
        self
    }

    /// Sets whether the supervisor stops and restarts a hung sidecar.
    #[must_use]
    pub const fn with_restart(mut self, restart: bool) -> Self {
        self.restart = restart;
        self
    }
}

impl Default for Liveness {
    /// A request every 10 s, and 3 unanswered requests: a sidecar counts as hung after 30 s without an answer.
    fn default() -> Self {
        Self::new(defaults::LIVENESS_INTERVAL, defaults::LIVENESS_TOLERANCE)
    }
}
