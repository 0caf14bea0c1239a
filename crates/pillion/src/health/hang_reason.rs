//! Why a sidecar counts as hung.

use std::time::Duration;

/// How a hung sidecar shows that it hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HangReason {
    /// It does not answer and does not work.
    Silent,
    /// Nothing accepts connections at its address, though its process lives.
    Refused,
    /// The process with this id, which held the listening socket, has ended; the rest of the run does not answer.
    WorkerEnded(u32),
    /// It uses the processor without an answer for longer than the busy limit.
    BusyTooLong,
    /// It has requests of clients to answer, or sends to clients, for longer than the busy limit.
    RequestTooLong,
    /// It sent no `WATCHDOG=1` for this time.
    WatchdogMissed {
        interval: Duration,
        /// Whether it sent one before.
        kept_alive: bool,
    },
    /// It sent `WATCHDOG=trigger`.
    WatchdogTriggered,
}
