//! The life of a sidecar as a pure state machine: `(State, Event) -> (State, Actions)`.
//!
//! No I/O, no clock, no process: [`crate::task`] feeds it what happened and does what it says. Every state answers
//! every event, without a wildcard, so that a new state or event cannot be forgotten anywhere.
//!
//! ```text
//!  start ──> Starting ──Healthy──> Ready
//!             │    │                 │
//! NotLaunched │    │ Stop, Exited,   │ Stop, Exited
//!             │    │ Expired         │
//!             v    v                 v
//!            Down <──Gone── Ending <─┘          Restart: Down ──> Starting; elsewhere by way of Ending
//! ```
//!
//! `Ending` is the only way from a process to `Down`, and it is left only when the whole process group is gone (or
//! cannot be killed). A crash goes the same way as a requested stop: what is left of the group is asked, then killed.

use std::num::NonZeroU16;

use crate::status::{Exit, Phase, StopOutcome};

/// Where a sidecar is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Starting(Step),
    Ready { port: NonZeroU16 },
    Ending(Ending),
    Down(Ended),
}

/// How far a start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Launching,
    Announcing,
    Probing { port: NonZeroU16 },
}

/// A process group that is being brought down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) cause: Cause,
    /// How the leader ended, once it has.
    pub(crate) exit: Option<Exit>,
    pub(crate) force: Force,
    /// Whether to start again as soon as everything is gone.
    pub(crate) again: bool,
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

/// Why a sidecar went down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Somebody asked for it.
    Asked,
    /// The program could not be started, for this reason.
    NotLaunched(String),
    /// The leader ended before it was ready, at this step.
    ExitedEarly(Step),
    /// The start took too long, and stood at this step.
    TimedOut(Step),
    /// The leader was ready, and then ended with code 0.
    Finished,
    /// The leader was ready, and then ended in another way.
    Crashed,
}

/// A sidecar that is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) cause: Cause,
    pub(crate) exit: Option<Exit>,
    pub(crate) outcome: StopOutcome,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Somebody wants it started, or stopped and started again.
    Restart,
    /// Somebody wants it stopped, with grace.
    Stop,
    /// Somebody wants it stopped at once.
    Kill,
    /// The process runs.
    Launched,
    /// There is no process to own: a server is there already, on this port.
    Attached(NonZeroU16),
    /// The process could not be started.
    NotLaunched(String),
    /// A valid announcement.
    Announced(NonZeroU16),
    /// The announced port answered as it should.
    Healthy,
    /// The state's timer ran out.
    Expired,
    /// The leader of the process group is dead.
    Exited(Exit),
    /// Nothing is left of the process group.
    Gone,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start the process; answer with `Launched`, `Attached` or `NotLaunched`.
    Launch,
    /// Ask for health until the port answers well; then `Healthy`.
    Probe(NonZeroU16),
    /// End the process's stdin and send SIGTERM to its group. With no process to own, answer with `Gone`.
    Ask,
    /// Kill the group.
    Kill,
    /// The leader is dead: watch the rest of its group, and answer with `Gone`.
    WatchGroup,
}

/// The one timer of a state; what it means is the state's, how long it is the specification's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Until the sidecar must be ready.
    Ready,
    /// Until a group that was asked is killed.
    Grace,
    /// Until a group that was killed is given up.
    Kill,
}

use Action::{Ask, Kill, Launch, Probe, WatchGroup};

impl State {
    /// The first state and what to do in it.
    pub(crate) fn start() -> (Self, Vec<Action>) {
        (Self::Starting(Step::Launching), vec![Launch])
    }

    /// The timer that runs in this state. It starts anew when a transition changes it, and only then.
    pub(crate) fn timer(&self) -> Option<Timer> {
        match self {
            Self::Starting(_) => Some(Timer::Ready),
            Self::Ready { .. } | Self::Down(_) => None,
            Self::Ending(Ending { force: Force::Asked, .. }) => Some(Timer::Grace),
            Self::Ending(Ending { force: Force::KilledLeader | Force::KilledRest, .. }) => Some(Timer::Kill),
        }
    }

    /// The state as the world sees it.
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::Starting(_) => Phase::Starting,
            Self::Ready { .. } => Phase::Ready,
            Self::Ending(_) => Phase::Stopping,
            Self::Down(ended) if ended.cause.is_failure() => Phase::Failed,
            Self::Down(_) => Phase::Stopped,
        }
    }

    /// Takes one step.
    pub(crate) fn on(self, event: Event) -> (Self, Vec<Action>) {
        match self {
            Self::Starting(step) => step.on(event),
            Self::Ready { port } => ready(port, event),
            Self::Ending(ending) => ending.on(event),
            Self::Down(ended) => match event {
                Event::Restart => Self::start(),
                // A process that was given up may still end; nobody waits for it any more.
                Event::Stop
                | Event::Kill
                | Event::Launched
                | Event::Attached(_)
                | Event::NotLaunched(_)
                | Event::Announced(_)
                | Event::Healthy
                | Event::Expired
                | Event::Exited(_)
                | Event::Gone => (Self::Down(ended), vec![]),
            },
        }
    }
}

impl Cause {
    /// Whether nobody wanted it.
    pub(crate) fn is_failure(&self) -> bool {
        match self {
            Self::NotLaunched(_) | Self::ExitedEarly(_) | Self::TimedOut(_) | Self::Crashed => true,
            Self::Asked | Self::Finished => false,
        }
    }
}

impl Step {
    fn on(self, event: Event) -> (State, Vec<Action>) {
        let stay = (State::Starting(self), vec![]);
        match event {
            Event::Restart => stay,
            Event::Stop => ask(Cause::Asked),
            Event::Kill => kill(Cause::Asked),
            Event::Expired => kill(Cause::TimedOut(self)),
            Event::NotLaunched(why) => down(Cause::NotLaunched(why), None, StopOutcome::NotRunning),
            Event::Exited(exit) => leader_died(Cause::ExitedEarly(self), exit),
            Event::Launched => match self {
                Self::Launching => (State::Starting(Self::Announcing), vec![]),
                Self::Announcing | Self::Probing { .. } => stay,
            },
            Event::Attached(port) => match self {
                Self::Launching => (State::Starting(Self::Probing { port }), vec![Probe(port)]),
                Self::Announcing | Self::Probing { .. } => stay,
            },
            // The first announcement holds: no later line moves the app to another port.
            Event::Announced(port) => match self {
                Self::Announcing => (State::Starting(Self::Probing { port }), vec![Probe(port)]),
                Self::Launching | Self::Probing { .. } => stay,
            },
            Event::Healthy => match self {
                Self::Probing { port } => (State::Ready { port }, vec![]),
                Self::Launching | Self::Announcing => stay,
            },
            Event::Gone => stay,
        }
    }
}

fn ready(port: NonZeroU16, event: Event) -> (State, Vec<Action>) {
    match event {
        Event::Stop => ask(Cause::Asked),
        Event::Kill => kill(Cause::Asked),
        Event::Restart => {
            let ending = Ending { cause: Cause::Asked, exit: None, force: Force::Asked, again: true };
            (State::Ending(ending), vec![Ask])
        }
        Event::Exited(exit) if exit.is_success() => leader_died(Cause::Finished, exit),
        Event::Exited(exit) => leader_died(Cause::Crashed, exit),
        Event::Launched
        | Event::Attached(_)
        | Event::NotLaunched(_)
        | Event::Announced(_)
        | Event::Healthy
        | Event::Expired
        | Event::Gone => (State::Ready { port }, vec![]),
    }
}

fn ask(cause: Cause) -> (State, Vec<Action>) {
    (State::Ending(Ending { cause, exit: None, force: Force::Asked, again: false }), vec![Ask])
}

fn kill(cause: Cause) -> (State, Vec<Action>) {
    (State::Ending(Ending { cause, exit: None, force: Force::KilledLeader, again: false }), vec![Kill])
}

/// The leader ended unasked. Others of its group may live on (a wrapper's real server), so they are asked as well.
fn leader_died(cause: Cause, exit: Exit) -> (State, Vec<Action>) {
    let ending = Ending { cause, exit: Some(exit), force: Force::Asked, again: false };
    (State::Ending(ending), vec![Ask, WatchGroup])
}

fn down(cause: Cause, exit: Option<Exit>, outcome: StopOutcome) -> (State, Vec<Action>) {
    (State::Down(Ended { cause, exit, outcome }), vec![])
}

impl Ending {
    fn on(mut self, event: Event) -> (State, Vec<Action>) {
        let actions = match event {
            Event::Restart => {
                self.again = true;
                vec![]
            }
            Event::Stop => {
                self.again = false;
                vec![]
            }
            Event::Kill => {
                self.again = false;
                self.kill()
            }
            Event::Expired => match self.force {
                Force::Asked => self.kill(),
                Force::KilledLeader | Force::KilledRest => return self.end(StopOutcome::Abandoned),
            },
            Event::Exited(exit) => {
                self.exit = Some(exit);
                vec![WatchGroup]
            }
            Event::Gone => {
                let outcome = self.outcome();
                return self.end(outcome);
            }
            // The stop overtook the start: it holds for what was launched in the meantime.
            Event::Launched | Event::Attached(_) => match self.force {
                Force::Asked => vec![Ask],
                Force::KilledLeader | Force::KilledRest => vec![Kill],
            },
            Event::NotLaunched(_) => return self.end(StopOutcome::NotRunning),
            Event::Announced(_) | Event::Healthy => vec![],
        };
        (State::Ending(self), actions)
    }

    fn kill(&mut self) -> Vec<Action> {
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

    fn end(self, outcome: StopOutcome) -> (State, Vec<Action>) {
        // What could not be killed may still hold files and ports: starting beside it would make things worse.
        if self.again && outcome != StopOutcome::Abandoned {
            return State::start();
        }
        down(self.cause, self.exit, outcome)
    }
}

#[cfg(test)]
mod tests;
