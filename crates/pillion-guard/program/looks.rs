//! When the guard looks for descendants that have left its session, to report them.

use std::time::{Duration, Instant};

/// The first look.
pub(super) const FIRST: Duration = Duration::from_millis(100);
/// The same for a guard that has taken over, perhaps because there are such descendants: after the command that waits, if one does.
pub(super) const FIRST_RESUMED: Duration = Duration::from_millis(1);
/// The longest pause until the next one. The pauses double: most programs daemonise themselves soon after their start, and an idle
/// guard should hardly ever wake.
const MAX_INTERVAL: Duration = Duration::from_secs(60);
/// The shortest pause between two looks at a fork, and between two reports after one: a look asks for each process of the user.
const FORK_INTERVAL: Duration = Duration::from_secs(1);

/// The looks of one guard.
pub(super) struct Looks {
    interval: Duration,
    /// The last report, or the start.
    last: Instant,
    /// The next report.
    pub(super) due: Option<Instant>,
    last_at_fork: Option<Instant>,
}

impl Looks {
    pub(super) fn new(first: Duration) -> Self {
        let last = Instant::now();
        Self { interval: FIRST, last, due: last.checked_add(first), last_at_fork: None }
    }

    /// Whether a report is due. The next one is then later.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|due| now >= due);
        if is_due {
            self.interval = (self.interval * 2).min(MAX_INTERVAL);
            self.due = now.checked_add(self.interval);
            self.last = now;
        }
        is_due
    }

    /// The leader has forked: a report is due soon. Returns whether to look at once, because the parent of a daemon may end soon.
    pub(super) fn forked(&mut self, now: Instant) -> bool {
        let soon = now.max(self.last + FORK_INTERVAL).checked_add(FIRST);
        self.due = self.due.min(soon);
        let look = self.last_at_fork.is_none_or(|last| now >= last + FORK_INTERVAL);
        if look {
            self.last_at_fork = Some(now);
        }
        look
    }
}
