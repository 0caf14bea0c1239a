//! The life of a sidecar as a pure state machine: `(Lifecycle, Event) -> (Lifecycle, Actions)`.
//!
//! No I/O, no clock, no process: [`crate::supervisor::driver`] feeds it what happened and when, and does what it says. Every state
//! answers every event, without a wildcard, so that a new state or event cannot be forgotten anywhere. The diagram in
//! `docs/states.md` is printed from it by a test.
//!
//! `Ending` is the only way from a process to none, and it is left only when the whole process group is gone (or cannot
//! be killed). A crash goes the same way as a requested stop: what is left of the group is asked, then killed.

mod ending;
mod restarts;

use std::time::Duration;

use pillion_protocol::ListenAddr;

use crate::{
    spec::Restart,
    status::{Exit, State, StopOutcome},
};
pub(crate) use ending::{Ending, Force, Next};
pub(crate) use restarts::{RestartDecision, Restarts};

/// Where a sidecar is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// Something that it depends on is not ready. `blocked` says what is wrong where waiting alone will not help.
    Waiting {
        blocked: Option<String>,
    },
    Starting(Step),
    Ready {
        addr: ListenAddr,
    },
    /// It was ready, and its health fails or stays out.
    Unhealthy {
        addr: ListenAddr,
    },
    Ending(Ending),
    /// Down, and about to be started again.
    BackingOff(BackingOff),
    Down(Ended),
}

/// How far a start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Launching,
    Announcing,
    Probing { addr: ListenAddr },
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
    /// It was ready, and then answered nobody for too long.
    Hung,
}

/// A sidecar that waits for its next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackingOff {
    pub(crate) cause: Cause,
    pub(crate) exit: Option<Exit>,
    /// How long it waits, before any jitter.
    pub(crate) pause: Duration,
}

/// A sidecar that is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) cause: Cause,
    pub(crate) exit: Option<Exit>,
    pub(crate) outcome: StopOutcome,
    /// Whether it would have been started again, had that not happened too often already.
    pub(crate) given_up: bool,
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
    /// Everything that it depends on is ready.
    Cleared,
    /// Something that it depends on has failed.
    Blocked(String),
    /// The process runs.
    Launched,
    /// There is no process to own: a server is there already, at this place.
    Attached(ListenAddr),
    /// The process could not be started.
    NotLaunched(String),
    /// A valid announcement.
    Announced(ListenAddr),
    /// It answered there as it should.
    Healthy,
    /// It did not, or has not so far.
    Unhealthy,
    /// It has answered nothing for so long that nobody expects it to.
    Hung,
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
    /// Watch what the sidecar depends on; answer with `Cleared`, and with `Blocked` before it where that is so.
    Wait,
    /// Start the process; answer with `Launched`, `Attached` or `NotLaunched`.
    Launch,
    /// Ask for health until it answers well there; then `Healthy`.
    Probe(ListenAddr),
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
    /// Until the next start.
    BackOff(Duration),
}

use Action::{Launch, Probe, Wait};

impl Lifecycle {
    /// The first state and what to do in it, as somebody asked for it.
    pub(crate) fn start(restarts: &mut Restarts) -> (Self, Vec<Action>) {
        restarts.forget();
        (Self::Waiting { blocked: None }, vec![Wait])
    }

    /// The timer that runs in this state. It starts anew when a transition changes it, and only then.
    pub(crate) fn timer(&self) -> Option<Timer> {
        match self {
            Self::Waiting { .. } | Self::Ready { .. } | Self::Unhealthy { .. } | Self::Down(_) => None,
            Self::Starting(_) => Some(Timer::Ready),
            Self::Ending(Ending { force: Force::Asked, .. }) => Some(Timer::Grace),
            Self::Ending(Ending { force: Force::KilledLeader | Force::KilledRest, .. }) => Some(Timer::Kill),
            Self::BackingOff(BackingOff { pause, .. }) => Some(Timer::BackOff(*pause)),
        }
    }

    /// Where it is, once that is announced.
    pub(crate) fn listen_addr(&self) -> Option<ListenAddr> {
        match self {
            Self::Starting(Step::Probing { addr }) | Self::Ready { addr } | Self::Unhealthy { addr } => {
                Some(*addr)
            }
            Self::Starting(Step::Launching | Step::Announcing)
            | Self::Waiting { .. }
            | Self::Ending(_)
            | Self::BackingOff(_)
            | Self::Down(_) => None,
        }
    }

    /// The state as the world sees it.
    pub(crate) fn state(&self) -> State {
        match self {
            Self::Waiting { .. } => State::Waiting,
            Self::Starting(_) => State::Starting,
            Self::Ready { .. } => State::Ready,
            Self::Unhealthy { .. } => State::Unhealthy,
            Self::Ending(_) => State::Stopping,
            Self::BackingOff(_) => State::BackingOff,
            Self::Down(ended) if ended.cause.is_failure() => State::Failed,
            Self::Down(_) => State::Stopped,
        }
    }

    /// Whether it is down, or on its way there, and starts again without anybody asking for more.
    pub(crate) fn comes_back(&self) -> bool {
        match self {
            Self::BackingOff(_) => true,
            Self::Ending(ending) => {
                matches!(ending.next, Next::Start | Next::After(RestartDecision::Retry(_)))
            }
            Self::Waiting { .. }
            | Self::Starting(_)
            | Self::Ready { .. }
            | Self::Unhealthy { .. }
            | Self::Down(_) => false,
        }
    }

    /// Whether a start lies ahead that nobody has to ask for any more.
    pub(crate) fn is_to_start(&self) -> bool {
        matches!(self, Self::Waiting { .. }) || self.comes_back()
    }

    /// Takes one step. `now` is the time of any one clock that never goes back.
    pub(crate) fn on(self, event: Event, restarts: &mut Restarts, now: Duration) -> (Self, Vec<Action>) {
        match self {
            Self::Waiting { blocked } => waiting(blocked, event),
            Self::Starting(step) => step.on(event, restarts, now),
            Self::Ready { addr } => up(addr, Self::Ready { addr }, event, restarts, now),
            Self::Unhealthy { addr } => up(addr, Self::Unhealthy { addr }, event, restarts, now),
            Self::Ending(ending) => ending.on(event, restarts),
            Self::BackingOff(pause) => pause.on(event, restarts),
            Self::Down(ended) => match event {
                Event::Restart => Self::start(restarts),
                // A process that was given up may still end; nobody waits for it any more.
                Event::Stop
                | Event::Kill
                | Event::Cleared
                | Event::Blocked(_)
                | Event::Launched
                | Event::Attached(_)
                | Event::NotLaunched(_)
                | Event::Announced(_)
                | Event::Healthy
                | Event::Unhealthy
                | Event::Hung
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
            Self::NotLaunched(_) | Self::ExitedEarly(_) | Self::TimedOut(_) | Self::Crashed | Self::Hung => {
                true
            }
            Self::Asked | Self::Finished => false,
        }
    }
}

fn waiting(blocked: Option<String>, event: Event) -> (Lifecycle, Vec<Action>) {
    match event {
        Event::Cleared => (Lifecycle::Starting(Step::Launching), vec![Launch]),
        Event::Blocked(why) => (Lifecycle::Waiting { blocked: Some(why) }, vec![]),
        Event::Stop | Event::Kill => down(Cause::Asked, None, StopOutcome::NotRunning, RestartDecision::Rest),
        Event::Restart
        | Event::Launched
        | Event::Attached(_)
        | Event::NotLaunched(_)
        | Event::Announced(_)
        | Event::Healthy
        | Event::Unhealthy
        | Event::Hung
        | Event::Expired
        | Event::Exited(_)
        | Event::Gone => (Lifecycle::Waiting { blocked }, vec![]),
    }
}

impl Step {
    fn on(self, event: Event, restarts: &mut Restarts, now: Duration) -> (Lifecycle, Vec<Action>) {
        let stay = (Lifecycle::Starting(self), vec![]);
        match event {
            Event::Restart => {
                restarts.forget();
                stay
            }
            Event::Stop => Ending::ask(Cause::Asked, Next::After(RestartDecision::Rest)),
            Event::Kill => Ending::kill(Cause::Asked, Next::After(RestartDecision::Rest)),
            Event::Expired => {
                let cause = Cause::TimedOut(self);
                let next = Next::After(restarts.after(&cause, now));
                Ending::ask(cause, next)
            }
            Event::NotLaunched(why) => {
                let cause = Cause::NotLaunched(why);
                let verdict = restarts.after(&cause, now);
                down(cause, None, StopOutcome::NotRunning, verdict)
            }
            Event::Exited(exit) => died(Cause::ExitedEarly(self), exit, restarts, now),
            Event::Launched => match self {
                Self::Launching => (Lifecycle::Starting(Self::Announcing), vec![]),
                Self::Announcing | Self::Probing { .. } => stay,
            },
            Event::Attached(addr) => match self {
                Self::Launching => (Lifecycle::Starting(Self::Probing { addr }), vec![Probe(addr)]),
                Self::Announcing | Self::Probing { .. } => stay,
            },
            // The first announcement holds: no later line moves the app to another place.
            Event::Announced(addr) => match self {
                Self::Announcing => (Lifecycle::Starting(Self::Probing { addr }), vec![Probe(addr)]),
                Self::Launching | Self::Probing { .. } => stay,
            },
            Event::Healthy => match self {
                Self::Probing { addr } => {
                    restarts.ready(now);
                    (Lifecycle::Ready { addr }, vec![])
                }
                Self::Launching | Self::Announcing => stay,
            },
            Event::Unhealthy | Event::Hung | Event::Cleared | Event::Blocked(_) | Event::Gone => stay,
        }
    }
}

/// A sidecar that was ready, whatever its health is now.
fn up(
    addr: ListenAddr,
    state: Lifecycle,
    event: Event,
    restarts: &mut Restarts,
    now: Duration,
) -> (Lifecycle, Vec<Action>) {
    match event {
        Event::Stop => Ending::ask(Cause::Asked, Next::After(RestartDecision::Rest)),
        Event::Kill => Ending::kill(Cause::Asked, Next::After(RestartDecision::Rest)),
        Event::Restart => Ending::ask(Cause::Asked, Next::Start),
        Event::Exited(exit) if exit.is_success() => died(Cause::Finished, exit, restarts, now),
        Event::Exited(exit) => died(Cause::Crashed, exit, restarts, now),
        Event::Healthy => (Lifecycle::Ready { addr }, vec![]),
        Event::Unhealthy => (Lifecycle::Unhealthy { addr }, vec![]),
        // Whoever may not start it again does not kill it either: it may come to itself.
        Event::Hung if restarts.policy == Restart::Never => (Lifecycle::Unhealthy { addr }, vec![]),
        Event::Hung => {
            let next = Next::After(restarts.after(&Cause::Hung, now));
            Ending::ask(Cause::Hung, next)
        }
        Event::Cleared
        | Event::Blocked(_)
        | Event::Launched
        | Event::Attached(_)
        | Event::NotLaunched(_)
        | Event::Announced(_)
        | Event::Expired
        | Event::Gone => (state, vec![]),
    }
}

fn died(cause: Cause, exit: Exit, restarts: &mut Restarts, now: Duration) -> (Lifecycle, Vec<Action>) {
    let verdict = restarts.after(&cause, now);
    Ending::leader_died(cause, exit, verdict)
}

impl BackingOff {
    fn on(self, event: Event, restarts: &mut Restarts) -> (Lifecycle, Vec<Action>) {
        match event {
            // By way of `Waiting`: what it depends on may have gone down as well.
            Event::Expired => (Lifecycle::Waiting { blocked: None }, vec![Wait]),
            Event::Restart => Lifecycle::start(restarts),
            Event::Stop | Event::Kill => {
                down(Cause::Asked, self.exit, StopOutcome::NotRunning, RestartDecision::Rest)
            }
            Event::Cleared
            | Event::Blocked(_)
            | Event::Launched
            | Event::Attached(_)
            | Event::NotLaunched(_)
            | Event::Announced(_)
            | Event::Healthy
            | Event::Unhealthy
            | Event::Hung
            | Event::Exited(_)
            | Event::Gone => (Lifecycle::BackingOff(self), vec![]),
        }
    }
}

fn down(
    cause: Cause,
    exit: Option<Exit>,
    outcome: StopOutcome,
    verdict: RestartDecision,
) -> (Lifecycle, Vec<Action>) {
    let state = match verdict {
        RestartDecision::Retry(pause) => Lifecycle::BackingOff(BackingOff { cause, exit, pause }),
        RestartDecision::Rest => Lifecycle::Down(Ended { cause, exit, outcome, given_up: false }),
        RestartDecision::GiveUp => Lifecycle::Down(Ended { cause, exit, outcome, given_up: true }),
    };
    (state, vec![])
}

#[cfg(test)]
mod tests;
