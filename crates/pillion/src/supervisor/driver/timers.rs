//! When the one timer of a state ends.

use std::time::Duration;

use tokio::time::Instant;

use crate::{state::Timer, supervisor::driver::Driver};

/// How long a killed group may take to be gone before the supervisor sweeps it.
pub(crate) const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the sweep of a killed group may take before the supervisor abandons the group.
pub(crate) const SWEEP_TIMEOUT: Duration = Duration::from_secs(10);

impl Driver {
    /// When this timer ends; `None` if that is later than the clock can express.
    pub(super) fn deadline(&self, timer: Timer) -> Option<Instant> {
        Instant::now().checked_add(match timer {
            Timer::Ready => self.spec.ready_timeout,
            Timer::LeaderGrace { asked_at } => {
                return self.created.checked_add(asked_at.checked_add(self.spec.grace / 2)?);
            }
            Timer::Grace { asked_at } => {
                return self.created.checked_add(asked_at.checked_add(self.spec.grace)?);
            }
            Timer::Idle { since } => {
                return self.created.checked_add(since.checked_add(self.spec.idle_stop?)?);
            }
            Timer::Kill => KILL_TIMEOUT,
            Timer::Sweep => SWEEP_TIMEOUT,
            Timer::BackOff(pause) => jitter(pause),
        })
    }

    /// Lets the start take longer, within the declared maximum.
    pub(super) fn extend_start(&mut self, by: Option<Duration>) {
        let (Some(max), Some(deadline), Some(began)) =
            (self.spec.ready_timeout_max, self.deadline, self.start_began)
        else {
            return;
        };
        let wanted = began.elapsed().saturating_add(by.unwrap_or(self.spec.ready_timeout)).min(max);
        // A time that the clock cannot express is later than any deadline.
        let extended = began.checked_add(wanted);
        if extended.is_none_or(|extended| extended > deadline) {
            self.deadline = extended;
            self.run.diagnostics.time_limit = Some(wanted);
        }
    }
}

/// A random duration between half of the pause and all of it, so that sidecars that crashed together do not restart together.
fn jitter(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without random bytes use the full pause.
    let part = if getrandom::fill(&mut byte).is_ok() { u32::from(byte[0]) } else { 255 };
    pause / 2 + pause / 2 * part / 255
}
