//! Whether a sidecar that went down unasked is started again, and when: restart_limit as Erlang's supervisors have it
//! (<https://www.erlang.org/doc/system/sup_princ.html#maximum-restart-restart_limit>), with exponential back-off.

use std::{collections::VecDeque, time::Duration};

use crate::{
    spec::{Restart, RestartLimit},
    state::Cause,
};

/// The pause before the second restart in a row; the first one follows at once, and each further one waits twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The restarts that were, and the rules for the next one. Times are those of any one clock that never goes back.
#[derive(Debug, Clone)]
pub(crate) struct Restarts {
    pub(crate) policy: Restart,
    pub(crate) restart_limit: RestartLimit,
    /// When the restarts were that still count.
    recent: VecDeque<Duration>,
    /// How many restarts there were since the sidecar was last up for long.
    streak: u32,
    /// Since when it is up, and whether it ever was since somebody asked for it.
    up: Up,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Up {
    /// Not since somebody asked for it: a start that fails then is an answer, not an accident.
    Never,
    Before,
    Since(Duration),
}

/// What becomes of a sidecar that is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartDecision {
    /// It stays down.
    Rest,
    /// It has been restarted too often.
    GiveUp,
    /// It is started again after this pause.
    Retry(Duration),
}

impl Restarts {
    pub(crate) fn new(policy: Restart, restart_limit: RestartLimit) -> Self {
        Self { policy, restart_limit, recent: VecDeque::new(), streak: 0, up: Up::Never }
    }

    /// Somebody asked for a start: what was before does not count.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.policy, self.restart_limit);
    }

    /// The sidecar became ready.
    pub(super) fn ready(&mut self, now: Duration) {
        self.up = Up::Since(now);
    }

    /// How many restarts there were since the sidecar was last up for long.
    pub(crate) fn streak(&self) -> u32 {
        self.streak
    }

    /// Decides about a sidecar that went down for this reason.
    pub(super) fn after(&mut self, cause: &Cause, now: Duration) -> RestartDecision {
        let up = self.up;
        if up != Up::Never {
            self.up = Up::Before;
        }
        let again = match cause {
            Cause::Asked => false,
            Cause::Finished => self.policy == Restart::Always,
            Cause::Crashed | Cause::Hung => self.policy != Restart::Never,
            Cause::NotLaunched(_) | Cause::ExitedEarly(_) | Cause::TimedOut(_) => {
                self.policy != Restart::Never && up != Up::Never
            }
        };
        if !again {
            return RestartDecision::Rest;
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
        RestartDecision::Retry(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn restarts(policy: Restart) -> Restarts {
        Restarts::new(policy, RestartLimit::default())
    }

    #[test]
    fn pauses_double_and_the_fifth_crash_within_a_minute_is_one_too_many() {
        let mut restarts = restarts(Restart::OnFailure);
        let verdicts: Vec<_> = (0..5)
            .map(|number| {
                restarts.ready(number * SECOND);
                restarts.after(&Cause::Crashed, number * SECOND)
            })
            .collect();
        let pauses = [0, 250, 500, 1000].map(|pause| RestartDecision::Retry(Duration::from_millis(pause)));
        assert_eq!(verdicts[..4], pauses);
        assert_eq!(verdicts[4], RestartDecision::GiveUp);
    }

    #[test]
    fn only_sustained_health_makes_it_start_at_once_again() {
        let mut restarts = restarts(Restart::OnFailure);
        for (at, lived, pause) in [(0, 59, 0), (100, 59, 250), (200, 59, 500), (300, 60, 0)] {
            restarts.ready(at * SECOND);
            let verdict = restarts.after(&Cause::Crashed, (at + lived) * SECOND);
            assert_eq!(verdict, RestartDecision::Retry(Duration::from_millis(pause)));
        }
    }

    #[test]
    fn the_longest_pause_is_half_a_minute() {
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
    fn a_first_start_that_fails_is_an_answer_and_a_later_one_an_accident() {
        let early = Cause::NotLaunched(String::new());
        let mut restarts = restarts(Restart::OnFailure);
        assert_eq!(restarts.after(&early, SECOND), RestartDecision::Rest);
        restarts.ready(SECOND);
        assert_eq!(restarts.after(&Cause::Crashed, SECOND), RestartDecision::Retry(Duration::ZERO));
        assert!(matches!(restarts.after(&early, SECOND), RestartDecision::Retry(_)));
        restarts.forget();
        assert_eq!(restarts.after(&early, SECOND), RestartDecision::Rest);
    }

    #[test]
    fn the_policy_says_which_ends_count() {
        for (policy, crash, finish) in
            [(Restart::Never, false, false), (Restart::OnFailure, true, false), (Restart::Always, true, true)]
        {
            for (cause, again) in [(Cause::Crashed, crash), (Cause::Finished, finish), (Cause::Asked, false)]
            {
                let mut restarts = restarts(policy);
                restarts.ready(SECOND);
                let verdict = restarts.after(&cause, SECOND);
                assert_eq!(matches!(verdict, RestartDecision::Retry(_)), again, "{policy:?}, {cause:?}");
            }
        }
    }
}
