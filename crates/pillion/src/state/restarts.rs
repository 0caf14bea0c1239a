//! Decides whether and when a sidecar that ended by itself is started again: a restart limit like that of Erlang's supervisors
//! (<https://www.erlang.org/doc/system/sup_princ.html#maximum-restart-intensity>), with exponential backoff.

use std::{collections::VecDeque, time::Duration};

use crate::{
    spec::{Restart, RestartLimit},
    state::{Cause, Demand},
};

/// The pause before the second restart in a row. The first restart is immediate; each further one waits twice as long.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The past restarts and the rules for the next one. All times are those of one monotonic clock.
#[derive(Debug, Clone)]
pub(crate) struct Restarts {
    pub(crate) policy: Restart,
    pub(crate) restart_limit: RestartLimit,
    /// The times of the restarts within the window.
    recent: VecDeque<Duration>,
    /// The number of restarts since the sidecar was last up for a whole window.
    streak: u32,
    /// Whether and since when it has been up since the last requested start.
    up: Up,
    /// Its use, if it runs on demand.
    demand: Option<Demand>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Up {
    /// Not since the last requested start. A start that fails now is reported, not repeated.
    Never,
    Before,
    Since(Duration),
}

/// The decision about a sidecar that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartDecision {
    /// It stays down.
    StayDown,
    /// It stays down until its next use.
    Idle,
    /// It has been restarted too often.
    GiveUp,
    /// It is started again after this pause.
    Retry(Duration),
}

impl Restarts {
    pub(crate) fn new(policy: Restart, restart_limit: RestartLimit) -> Self {
        Self { policy, restart_limit, recent: VecDeque::new(), streak: 0, up: Up::Never, demand: None }
    }

    /// Sets the use of a sidecar on demand; `None` for every other sidecar.
    pub(crate) fn with_demand(self, demand: Option<Demand>) -> Self {
        Self { demand, ..self }
    }

    pub(super) fn runs_on_demand(&self) -> bool {
        self.demand.is_some()
    }

    pub(super) fn set_used(&mut self) {
        if let Some(demand) = &mut self.demand {
            demand.set_used();
        }
    }

    pub(super) fn set_unused(&mut self, now: Duration) {
        if let Some(demand) = &mut self.demand {
            demand.set_unused(now);
        }
    }

    /// Whether it runs on demand, and nothing uses it.
    pub(super) fn is_unused(&self) -> bool {
        self.demand.is_some_and(|demand| !demand.is_in_use())
    }

    /// When the time without a use began that ends with a stop.
    pub(super) fn idle_since(&self) -> Option<Duration> {
        self.demand.and_then(Demand::idle_since)
    }

    /// A start was requested, other than by a use: forgets all past restarts.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.policy, self.restart_limit).with_demand(self.demand);
    }

    /// The sidecar became ready.
    pub(super) fn ready(&mut self, now: Duration) {
        self.up = Up::Since(now);
        if let Some(demand) = &mut self.demand {
            demand.set_ready(now);
        }
    }

    /// Whether a sidecar that runs on demand is started by its next use alone. A failed first start is reported instead, as for
    /// every sidecar.
    fn waits_for_use(&self, cause: &Cause, up: Up) -> bool {
        self.is_unused()
            && match cause {
                Cause::Requested(_) | Cause::DependencyRestarted(_) | Cause::Unused | Cause::Mismatch(_) => {
                    false
                }
                Cause::Finished | Cause::Crashed => true,
                Cause::Hung
                | Cause::MemoryExceeded
                | Cause::NotLaunched(_)
                | Cause::ExitedEarly(_)
                | Cause::TimedOut(_) => up != Up::Never,
            }
    }

    /// The sidecar is not up any more.
    pub(super) fn interrupted(&mut self) {
        if self.up != Up::Never {
            self.up = Up::Before;
        }
    }

    /// The number of restarts since the sidecar was last up for a whole window.
    pub(crate) fn streak(&self) -> u32 {
        self.streak
    }

    /// Decides about a sidecar that went down for this cause.
    pub(super) fn after(&mut self, cause: &Cause, now: Duration) -> RestartDecision {
        let up = self.up;
        self.interrupted();
        let again = match cause {
            // Another start would run the same program.
            Cause::Requested(_) | Cause::DependencyRestarted(_) | Cause::Unused | Cause::Mismatch(_) => false,
            // The sidecar is in use. If it stayed down, the next use would start it anyway.
            Cause::Finished if self.runs_on_demand() => self.policy != Restart::Never,
            Cause::Finished => self.policy == Restart::Always,
            Cause::Crashed => self.policy != Restart::Never,
            Cause::Hung
            | Cause::MemoryExceeded
            | Cause::NotLaunched(_)
            | Cause::ExitedEarly(_)
            | Cause::TimedOut(_) => self.policy != Restart::Never && up != Up::Never,
        };
        let waits_for_use = self.waits_for_use(cause, up);
        if waits_for_use && *cause == Cause::Finished {
            // It ended by itself because nothing used it.
            return RestartDecision::Idle;
        }
        if !again && !waits_for_use {
            return RestartDecision::StayDown;
        }
        let RestartLimit { limit, window } = self.restart_limit;
        if let Up::Since(since) = up
            && now.saturating_sub(since) >= window
        {
            self.streak = 0;
        }
        self.recent.retain(|restart| now.saturating_sub(*restart) < window);
        if self.recent.len() >= limit as usize {
            return RestartDecision::GiveUp;
        }
        self.recent.push_back(now);
        let pause = match self.streak {
            0 => Duration::ZERO,
            streak => FIRST_PAUSE.saturating_mul(1 << (streak - 1).min(16)).min(LONGEST_PAUSE),
        };
        self.streak += 1;
        // Counted as a restart: otherwise a sidecar that crashes whenever it is used would be started without a limit.
        if waits_for_use { RestartDecision::Idle } else { RestartDecision::Retry(pause) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Requester;

    const SECOND: Duration = Duration::from_secs(1);

    fn restarts(policy: Restart) -> Restarts {
        Restarts::new(policy, RestartLimit::default())
    }

    #[test]
    fn pauses_double_and_the_fifth_crash_within_a_minute_exceeds_the_limit() {
        let mut restarts = restarts(Restart::OnFailure);
        let decisions: Vec<_> = (0..5)
            .map(|number| {
                restarts.ready(number * SECOND);
                restarts.after(&Cause::Crashed, number * SECOND)
            })
            .collect();
        let pauses = [0, 250, 500, 1000].map(|pause| RestartDecision::Retry(Duration::from_millis(pause)));
        assert_eq!(decisions[..4], pauses);
        assert_eq!(decisions[4], RestartDecision::GiveUp);
    }

    #[test]
    fn a_restart_is_immediate_again_after_a_whole_window_up() {
        let mut restarts = restarts(Restart::OnFailure);
        for (at, lived, pause) in [(0, 59, 0), (100, 59, 250), (200, 59, 500), (300, 60, 0)] {
            restarts.ready(at * SECOND);
            let decision = restarts.after(&Cause::Crashed, (at + lived) * SECOND);
            assert_eq!(decision, RestartDecision::Retry(Duration::from_millis(pause)));
        }
    }

    #[test]
    fn the_longest_pause_is_30_seconds() {
        let mut restarts = restarts(Restart::OnFailure);
        let mut crash = |number: u32| {
            (0..number)
                .map(|at| at * 20 * SECOND)
                .map(|at| {
                    restarts.ready(at);
                    restarts.after(&Cause::Crashed, at)
                })
                .last()
        };
        assert_eq!(crash(40), Some(RestartDecision::Retry(LONGEST_PAUSE)));
    }

    #[test]
    fn a_failed_first_start_is_not_repeated_but_a_failed_restart_is() {
        let early = Cause::NotLaunched(String::new());
        let mut restarts = restarts(Restart::OnFailure);
        assert_eq!(restarts.after(&early, SECOND), RestartDecision::StayDown);
        restarts.ready(SECOND);
        assert_eq!(restarts.after(&Cause::Crashed, SECOND), RestartDecision::Retry(Duration::ZERO));
        assert!(matches!(restarts.after(&early, SECOND), RestartDecision::Retry(_)));
        restarts.forget();
        assert_eq!(restarts.after(&early, SECOND), RestartDecision::StayDown);
    }

    #[test]
    fn the_policy_decides_which_ends_lead_to_a_restart() {
        for (policy, crash, finish) in
            [(Restart::Never, false, false), (Restart::OnFailure, true, false), (Restart::Always, true, true)]
        {
            for (cause, again) in [
                (Cause::Crashed, crash),
                (Cause::Finished, finish),
                (Cause::Requested(Requester::Stop), false),
            ] {
                let mut restarts = restarts(policy);
                restarts.ready(SECOND);
                let decision = restarts.after(&cause, SECOND);
                assert_eq!(matches!(decision, RestartDecision::Retry(_)), again, "{policy:?}, {cause:?}");
            }
        }
    }

    #[test]
    fn the_page_of_the_states_gives_these_pauses() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/states.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (first, longest) = (FIRST_PAUSE.as_millis(), LONGEST_PAUSE.as_secs());
        let pauses = format!("{first} ms, {} ms and so on up to {longest} s", 2 * first);
        assert!(page.contains(&pauses), "docs/states.md does not say: {pauses}");
    }
}
