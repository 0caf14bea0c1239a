//! The only way from a running process to none.

use std::time::Duration;

use super::{
    Action::{self, Kill, Sweep, TerminateGroup, TerminateLeader, WatchGroup},
    Cause, Ended, Event, Lifecycle, Requester, RestartDecision, Restarts, StartReason,
    down::down,
    waiting,
};
use crate::status::{Exit, KillReason, StopOutcome};

/// A process group that is being stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) cause: Cause,
    /// How the leader ended, once it has.
    pub(crate) exit: Option<Exit>,
    pub(crate) stage: StopStage,
    /// Why the group was killed, if it was.
    pub(crate) kill_reason: Option<KillReason>,
    /// Whether the guard was killed, too, because the killed group did not end.
    pub(crate) swept: bool,
    /// When the stop began: both timers of the grace period run from here.
    pub(crate) asked_at: Duration,
    pub(crate) next: Next,
}

/// What the supervisor has done so far to stop the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopStage {
    /// The leader was asked to end.
    LeaderAsked,
    /// Every process was asked to end.
    GroupAsked,
    /// Killed, the leader included.
    KilledLeader,
    /// Killed after the leader had ended by itself.
    KilledRest,
}

/// What follows when the group is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// A requested start.
    Start,
    /// A start after that of a dependency, or for a use. Unlike a requested start, it leaves the past restarts counted.
    StartAgain,
    /// The decision, made when the state machine learned of the end.
    After(RestartDecision),
}

impl Ending {
    /// Asks the leader to end, for this reason.
    pub(super) fn begin(cause: Cause, next: Next, now: Duration) -> (Lifecycle, Vec<Action>) {
        (Lifecycle::Ending(Self::new(cause, StopStage::LeaderAsked, next, now)), vec![TerminateLeader])
    }

    /// A requested stop: the sidecar stays down.
    pub(super) fn stop(by: Requester, now: Duration) -> (Lifecycle, Vec<Action>) {
        Self::begin(Cause::Requested(by), Next::After(RestartDecision::StayDown), now)
    }

    /// A stop after a failure of the running sidecar. What follows is the decision of its restart policy.
    pub(super) fn fail(cause: Cause, restarts: &mut Restarts, now: Duration) -> (Lifecycle, Vec<Action>) {
        let next = Next::After(restarts.after(&cause, now));
        Self::begin(cause, next, now)
    }

    /// Stops the sidecar, and starts it when the dependency is ready again: its connections, and the address that its placeholders
    /// gave it, belong to a run that is gone.
    pub(super) fn dependency_restarted(
        name: String,
        restarts: &mut Restarts,
        now: Duration,
    ) -> (Lifecycle, Vec<Action>) {
        restarts.interrupted();
        let next = if restarts.is_unused() { Next::After(RestartDecision::Idle) } else { Next::StartAgain };
        Self::begin(Cause::DependencyRestarted(name), next, now)
    }

    /// Kills the group on request.
    pub(super) fn kill(now: Duration) -> (Lifecycle, Vec<Action>) {
        let (cause, next) = (Cause::Requested(Requester::Kill), Next::After(RestartDecision::StayDown));
        let ending = Self {
            kill_reason: Some(KillReason::Requested),
            ..Self::new(cause, StopStage::KilledLeader, next, now)
        };
        (Lifecycle::Ending(ending), vec![Kill])
    }

    /// The leader ended by itself. Its group may live on (the real server behind a wrapper), so it is asked to end.
    pub(super) fn leader_died(
        cause: Cause,
        exit: Exit,
        restarts: &mut Restarts,
        now: Duration,
    ) -> (Lifecycle, Vec<Action>) {
        let next = Next::After(restarts.after(&cause, now));
        let ending = Self { exit: Some(exit), ..Self::new(cause, StopStage::GroupAsked, next, now) };
        (Lifecycle::Ending(ending), vec![TerminateGroup, WatchGroup])
    }

    fn new(cause: Cause, stage: StopStage, next: Next, now: Duration) -> Self {
        Self { cause, exit: None, stage, kill_reason: None, swept: false, asked_at: now, next }
    }

    pub(super) fn on(mut self, event: Event, restarts: &mut Restarts) -> (Lifecycle, Vec<Action>) {
        let actions = match event {
            Event::Restart => {
                self.next = Next::Start;
                vec![]
            }
            Event::Stop(_) => {
                self.next = Next::After(RestartDecision::StayDown);
                vec![]
            }
            Event::Kill => {
                self.next = Next::After(RestartDecision::StayDown);
                self.escalate(KillReason::Requested)
            }
            // A use during the stop of an unused sidecar waits for the next run.
            Event::Used => {
                if self.next == Next::After(RestartDecision::Idle) {
                    self.next = Next::StartAgain;
                }
                vec![]
            }
            Event::Unused => {
                let unrequested =
                    matches!(self.next, Next::StartAgain | Next::After(RestartDecision::Retry(_)));
                if restarts.runs_on_demand() && unrequested {
                    self.next = Next::After(RestartDecision::Idle);
                }
                vec![]
            }
            Event::Expired if self.swept => return self.end(StopOutcome::Abandoned, restarts),
            Event::Expired => self.grace_over(),
            Event::Exited(exit) => self.leader_exited(exit),
            Event::Gone => {
                let outcome = self.outcome();
                return self.end(outcome, restarts);
            }
            // The stop was requested before the launch finished: it applies to the new process.
            Event::Launched(_) | Event::Attached(_) => match self.stage {
                StopStage::LeaderAsked => vec![TerminateLeader],
                StopStage::GroupAsked => vec![TerminateLeader, TerminateGroup],
                StopStage::KilledLeader | StopStage::KilledRest => vec![Kill],
            },
            Event::NotLaunched(_) | Event::WrongProgram(_) => {
                return self.end(StopOutcome::NotRunning, restarts);
            }
            Event::Announced(_)
            | Event::Moved(_)
            | Event::Extend(_)
            | Event::Mismatch(_)
            | Event::Healthy
            | Event::Unhealthy
            | Event::Hung
            | Event::MemoryExceeded
            | Event::DependenciesReady
            | Event::DependencyFailed(_)
            | Event::DependencyRestarted(_) => vec![],
        };
        (Lifecycle::Ending(self), actions)
    }

    /// The next stage, because the time of this one is over.
    fn grace_over(&mut self) -> Vec<Action> {
        match self.stage {
            StopStage::LeaderAsked => self.ask_group(),
            StopStage::GroupAsked => self.escalate(KillReason::GraceOver),
            StopStage::KilledLeader | StopStage::KilledRest => {
                self.swept = true;
                vec![Sweep]
            }
        }
    }

    fn leader_exited(&mut self, exit: Exit) -> Vec<Action> {
        self.exit = Some(exit);
        match self.stage {
            // Without its leader, the rest of the group has nothing to wait for.
            StopStage::LeaderAsked => [self.ask_group(), vec![WatchGroup]].concat(),
            StopStage::GroupAsked | StopStage::KilledLeader | StopStage::KilledRest => vec![WatchGroup],
        }
    }

    fn ask_group(&mut self) -> Vec<Action> {
        self.stage = StopStage::GroupAsked;
        vec![TerminateGroup]
    }

    fn escalate(&mut self, why: KillReason) -> Vec<Action> {
        match self.stage {
            StopStage::LeaderAsked | StopStage::GroupAsked => {
                self.stage =
                    if self.exit.is_none() { StopStage::KilledLeader } else { StopStage::KilledRest };
                self.kill_reason = Some(why);
                vec![Kill]
            }
            StopStage::KilledLeader | StopStage::KilledRest => vec![],
        }
    }

    /// How the group ended.
    pub(crate) fn outcome(&self) -> StopOutcome {
        match (self.exit, self.stage) {
            (None, _) => StopOutcome::Detached,
            (Some(exit), StopStage::LeaderAsked | StopStage::GroupAsked) => StopOutcome::Graceful(exit),
            (Some(exit), StopStage::KilledLeader) => StopOutcome::Killed(exit),
            (Some(exit), StopStage::KilledRest) => StopOutcome::GroupKilled(exit),
        }
    }

    fn end(self, outcome: StopOutcome, restarts: &mut Restarts) -> (Lifecycle, Vec<Action>) {
        let decision = match self.next {
            // A process that cannot be killed may still hold files and ports: do not start another one beside it.
            _ if outcome == StopOutcome::Abandoned => RestartDecision::StayDown,
            Next::Start => return Lifecycle::start(restarts),
            Next::StartAgain => {
                let Self { cause, exit, .. } = self;
                let ended = Ended { cause, exit, outcome, given_up: false };
                return waiting::begin(StartReason::Unrequested(Some(ended)));
            }
            Next::After(decision) => decision,
        };
        down(self.cause, self.exit, outcome, decision)
    }
}
