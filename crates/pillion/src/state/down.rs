//! A sidecar without a process: why it went down, and what starts it again.

use std::time::Duration;

use crate::{
    state::{Action, Event, Lifecycle, Requester, RestartDecision, Restarts, StartReason, Step, waiting},
    status::{Exit, StopOutcome},
};

/// Why a sidecar went down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A stop or restart was requested, by this part of the program.
    Requested(Requester),
    /// The dependency of this name, with which it is restarted, was restarted.
    DependencyRestarted(String),
    /// It runs on demand, and nothing has used it for the declared time.
    Unused,
    /// The program could not be started, for this reason.
    NotLaunched(String),
    /// The program is not the one that the declaration expects, for this reason. Another start would change nothing.
    Mismatch(String),
    /// The leader ended before it was ready, at this step.
    ExitedEarly(Step),
    /// The start took too long and had reached this step.
    TimedOut(Step),
    /// The leader was ready and then ended with code 0.
    Finished,
    /// The leader was ready and then ended in another way.
    Crashed,
    /// It was ready and then answered no health request for too long, or it says that it hangs.
    Hung,
    /// Its processes used more memory than its declaration allows.
    MemoryExceeded,
}

/// A sidecar that waits for its next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackingOff {
    pub(crate) cause: Cause,
    pub(crate) exit: Option<Exit>,
    /// How long it waits, without jitter.
    pub(crate) pause: Duration,
}

/// A sidecar that is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) cause: Cause,
    pub(crate) exit: Option<Exit>,
    pub(crate) outcome: StopOutcome,
    /// Whether the restart limit prevented another start.
    pub(crate) given_up: bool,
}

impl Cause {
    /// Whether it counts as a failure.
    pub(crate) fn is_failure(&self) -> bool {
        match self {
            Self::NotLaunched(_)
            | Self::Mismatch(_)
            | Self::ExitedEarly(_)
            | Self::TimedOut(_)
            | Self::Crashed
            | Self::Hung
            | Self::MemoryExceeded => true,
            Self::Requested(_) | Self::DependencyRestarted(_) | Self::Unused | Self::Finished => false,
        }
    }
}

impl BackingOff {
    pub(super) fn on(self, event: Event, restarts: &mut Restarts) -> (Lifecycle, Vec<Action>) {
        match event {
            // Through `Waiting`, because a dependency may have failed as well.
            Event::Expired => waiting::begin(StartReason::Unrequested(Some(self.ended()))),
            Event::Restart => Lifecycle::start(restarts),
            Event::Stop(_) | Event::Kill => stopped(self.exit),
            // Nothing needs the next start any more.
            Event::Unused if restarts.runs_on_demand() => (Lifecycle::Idle(Some(self.ended())), vec![]),
            Event::Used
            | Event::Unused
            | Event::DependenciesReady
            | Event::DependencyFailed(_)
            | Event::DependencyRestarted(_)
            | Event::Launched(_)
            | Event::Attached(_)
            | Event::NotLaunched(_)
            | Event::WrongProgram(_)
            | Event::Mismatch(_)
            | Event::Announced(_)
            | Event::Moved(_)
            | Event::Extend(_)
            | Event::Healthy
            | Event::Unhealthy
            | Event::Hung
            | Event::MemoryExceeded
            | Event::Exited(_)
            | Event::Gone => (Lifecycle::BackingOff(self), vec![]),
        }
    }

    /// It goes down instead of being started again.
    fn ended(self) -> Ended {
        let Self { cause, exit, pause: _ } = self;
        Ended { cause, exit, outcome: StopOutcome::NotRunning, given_up: false }
    }
}

pub(super) fn down(
    cause: Cause,
    exit: Option<Exit>,
    outcome: StopOutcome,
    decision: RestartDecision,
) -> (Lifecycle, Vec<Action>) {
    let state = match decision {
        RestartDecision::Retry(pause) => Lifecycle::BackingOff(BackingOff { cause, exit, pause }),
        RestartDecision::Idle => Lifecycle::Idle(Some(Ended { cause, exit, outcome, given_up: false })),
        RestartDecision::StayDown => Lifecycle::Down(Ended { cause, exit, outcome, given_up: false }),
        RestartDecision::GiveUp => Lifecycle::Down(Ended { cause, exit, outcome, given_up: true }),
    };
    (state, vec![])
}

/// A requested stop of a sidecar that has no process. `exit` is that of its last run.
pub(super) fn stopped(exit: Option<Exit>) -> (Lifecycle, Vec<Action>) {
    down(Cause::Requested(Requester::Stop), exit, StopOutcome::NotRunning, RestartDecision::StayDown)
}

/// The transitions of a sidecar on demand that nothing uses.
pub(super) fn idle(ended: Option<Ended>, event: Event, restarts: &mut Restarts) -> (Lifecycle, Vec<Action>) {
    match event {
        // Not a requested start: a use of a sidecar that keeps crashing must not pass the restart limit.
        Event::Used => waiting::begin(StartReason::Unrequested(ended)),
        Event::Restart => Lifecycle::start(restarts),
        Event::Stop(_) | Event::Kill => stopped(ended.and_then(|ended| ended.exit)),
        Event::Unused
        | Event::DependenciesReady
        | Event::DependencyFailed(_)
        | Event::DependencyRestarted(_)
        | Event::Launched(_)
        | Event::Attached(_)
        | Event::NotLaunched(_)
        | Event::WrongProgram(_)
        | Event::Mismatch(_)
        | Event::Announced(_)
        | Event::Moved(_)
        | Event::Extend(_)
        | Event::Healthy
        | Event::Unhealthy
        | Event::Hung
        | Event::MemoryExceeded
        | Event::Expired
        | Event::Exited(_)
        | Event::Gone => (Lifecycle::Idle(ended), vec![]),
    }
}
