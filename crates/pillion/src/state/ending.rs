//! From a process to none: the one way down.

use super::{
    Action::{self, Ask, Kill, WatchGroup},
    Cause, Event, Lifecycle, RestartDecision, Restarts, down,
};
use crate::status::{Exit, StopOutcome};

/// A process group that is being brought down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) cause: Cause,
    /// How the leader ended, once it has.
    pub(crate) exit: Option<Exit>,
    pub(crate) force: Force,
    pub(crate) next: Next,
}

/// What was done so far to bring the group down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Force {
    /// Asked: end of stdin and SIGTERM.
    Asked,
    /// Killed, the leader included.
    KilledLeader,
    /// Killed after the leader had ended by itself.
    KilledRest,
}

/// What comes once everything is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// A start, because somebody asked for it.
    Start,
    /// What was decided when it became known that this ends.
    After(RestartDecision),
}

impl Ending {
    /// Asks the group, for this reason.
    pub(super) fn ask(cause: Cause, next: Next) -> (Lifecycle, Vec<Action>) {
        (Lifecycle::Ending(Self { cause, exit: None, force: Force::Asked, next }), vec![Ask])
    }

    /// Kills the group, for this reason.
    pub(super) fn kill(cause: Cause, next: Next) -> (Lifecycle, Vec<Action>) {
        (Lifecycle::Ending(Self { cause, exit: None, force: Force::KilledLeader, next }), vec![Kill])
    }

    /// The leader ended unasked. Others of its group may live on (a wrapper's real server), so they are asked as well.
    pub(super) fn leader_died(
        cause: Cause,
        exit: Exit,
        verdict: RestartDecision,
    ) -> (Lifecycle, Vec<Action>) {
        let ending = Self { cause, exit: Some(exit), force: Force::Asked, next: Next::After(verdict) };
        (Lifecycle::Ending(ending), vec![Ask, WatchGroup])
    }

    pub(super) fn on(mut self, event: Event, restarts: &mut Restarts) -> (Lifecycle, Vec<Action>) {
        let actions = match event {
            Event::Restart => {
                self.next = Next::Start;
                vec![]
            }
            Event::Stop => {
                self.next = Next::After(RestartDecision::Rest);
                vec![]
            }
            Event::Kill => {
                self.next = Next::After(RestartDecision::Rest);
                self.escalate()
            }
            Event::Expired => match self.force {
                Force::Asked => self.escalate(),
                Force::KilledLeader | Force::KilledRest => {
                    return self.end(StopOutcome::Abandoned, restarts);
                }
            },
            Event::Exited(exit) => {
                self.exit = Some(exit);
                vec![WatchGroup]
            }
            Event::Gone => {
                let outcome = self.outcome();
                return self.end(outcome, restarts);
            }
            // The stop overtook the start: it holds for what was launched in the meantime.
            Event::Launched | Event::Attached(_) => match self.force {
                Force::Asked => vec![Ask],
                Force::KilledLeader | Force::KilledRest => vec![Kill],
            },
            Event::NotLaunched(_) => return self.end(StopOutcome::NotRunning, restarts),
            Event::Announced(_)
            | Event::Healthy
            | Event::Unhealthy
            | Event::Hung
            | Event::Cleared
            | Event::Blocked(_) => vec![],
        };
        (Lifecycle::Ending(self), actions)
    }

    fn escalate(&mut self) -> Vec<Action> {
        match self.force {
            Force::Asked => {
                self.force = if self.exit.is_none() { Force::KilledLeader } else { Force::KilledRest };
                vec![Kill]
            }
            Force::KilledLeader | Force::KilledRest => vec![],
        }
    }

    /// What it took, now that everything is gone.
    pub(crate) fn outcome(&self) -> StopOutcome {
        match (self.exit, self.force) {
            (None, _) => StopOutcome::Detached,
            (Some(exit), Force::Asked) => StopOutcome::Graceful(exit),
            (Some(exit), Force::KilledLeader) => StopOutcome::Killed(exit),
            (Some(exit), Force::KilledRest) => StopOutcome::GroupKilled(exit),
        }
    }

    fn end(self, outcome: StopOutcome, restarts: &mut Restarts) -> (Lifecycle, Vec<Action>) {
        let verdict = match self.next {
            // What could not be killed may still hold files and ports: starting beside it would make things worse.
            _ if outcome == StopOutcome::Abandoned => RestartDecision::Rest,
            Next::Start => return Lifecycle::start(restarts),
            Next::After(verdict) => verdict,
        };
        down(self.cause, self.exit, outcome, verdict)
    }
}
