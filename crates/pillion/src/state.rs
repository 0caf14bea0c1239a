//! The lifecycle of a sidecar as a pure state machine: `(Lifecycle, Event) -> (Lifecycle, Actions)`.
//!
//! It does no I/O, reads no clock and starts no process. [`crate::supervisor::driver`] passes events with their time and
//! executes the actions. Every state handles every event without a wildcard, so that the compiler reports each place that a
//! new state or event must handle. A test generates the diagram in `docs/states.md` from this machine.
//!
//! `Ending` is the only way from a running process to none. It ends only when the whole process group is gone or cannot be
//! killed. A requested stop asks the leader first; the rest of the group is asked when the leader has ended, or after half of
//! the grace period; the group is killed when the grace period is over. After a crash the leader is dead, so the rest of the
//! group is asked at once.

mod demand;
mod ending;
mod restarts;
mod starting;
mod waiting;

use std::time::Duration;

use pillion_protocol::ListenAddr;

use crate::{
    spec::Restart,
    status::{Exit, State, StopOutcome},
};
pub(crate) use demand::Demand;
pub(crate) use ending::{Ending, Next, StopStage};
pub(crate) use restarts::{RestartDecision, Restarts};
pub(crate) use starting::Step;
pub(crate) use waiting::StartReason;

/// The internal state of a sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// A dependency is not ready. `blocked` describes a failed dependency: waiting alone will not help.
    Waiting {
        blocked: Option<String>,
        reason: StartReason,
    },
    Starting(Step),
    /// The address is `None` if the sidecar has none, or none is known yet.
    Ready {
        addr: Option<ListenAddr>,
    },
    /// It was ready. Its last health answer failed or is overdue.
    Unhealthy {
        addr: Option<ListenAddr>,
    },
    Ending(Ending),
    /// Down; the supervisor will start it again.
    BackingOff(BackingOff),
    /// Nothing uses the sidecar, which runs on demand: the next use starts it. `None` if it has not run yet.
    Idle(Option<Ended>),
    Down(Ended),
}

/// Why a sidecar went down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A stop or restart was requested.
    Requested,
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

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A start was requested; a running sidecar is stopped first.
    Restart,
    /// A stop with a grace period was requested.
    Stop,
    /// An immediate stop was requested.
    Kill,
    /// A use of a sidecar that runs on demand began.
    Used,
    /// The last use of a sidecar that runs on demand ended.
    Unused,
    /// All dependencies are ready.
    DependenciesReady,
    /// A dependency has failed, for this reason.
    DependencyFailed(String),
    /// The dependency of this name, with which the sidecar is restarted, is being restarted or was.
    DependencyRestarted(String),
    /// The process runs, and must do this before it is ready.
    Launched(Awaits),
    /// Another program started the server at this address: the supervisor owns no process.
    Attached(ListenAddr),
    /// The process could not be started.
    NotLaunched(String),
    /// The process was not started: the program is not the one that the declaration expects.
    WrongProgram(String),
    /// The process runs, and is not the one that the declaration expects.
    Mismatch(String),
    /// The sidecar wrote a valid announcement.
    Announced(ListenAddr),
    /// Nothing accepts connections at the present address any more, and the sidecar has announced this one since.
    Moved(ListenAddr),
    /// The sidecar says that its start goes on and needs more time: this long from now, or as long as a start may take.
    Extend(Option<Duration>),
    /// The ready check has passed, or a health request succeeded.
    Healthy,
    /// A health request failed, or its answer is overdue.
    Unhealthy,
    /// It has not answered, or not told that it works, for longer than the declared tolerance; or it says that it hangs.
    Hung,
    /// The state's timer ran out.
    Expired,
    /// The leader of the process group is dead.
    Exited(Exit),
    /// No process of the group is left.
    Gone,
}

/// What a launched sidecar must do before it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// Announce its address, and pass its check there.
    Announcement,
    /// Pass its check. The address is `None` if none is known yet and the check needs none.
    Check(Option<ListenAddr>),
    /// Nothing.
    Nothing(Option<ListenAddr>),
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Watch the dependencies; answer with `DependenciesReady`, and with `DependencyFailed` for each failure.
    Wait,
    /// Start the process; answer with `Launched`, `Attached` or `NotLaunched`.
    Launch,
    /// Check whether the sidecar is ready, at this address if it has one, until the check passes; then answer with `Healthy`.
    Check(Option<ListenAddr>),
    /// Let the timer of the start run longer, within the declared maximum: this long from now, or as long as a start may take.
    Extend(Option<Duration>),
    /// Ask the leader to end, as its program declares (by default end of stdin and SIGTERM). Without a process to own, answer with
    /// `Gone`.
    TerminateLeader,
    /// Ask every process of the group that was not asked yet. Without a process to own, answer with `Gone`.
    TerminateGroup,
    /// Kill the group. Without a process to own, answer with `Gone`.
    Kill,
    /// The killed group has not ended: kill its guard, which may be unable to run, and then the group by other ways.
    Sweep,
    /// The leader is dead: watch the rest of its group; answer with `Gone`.
    WatchGroup,
}

/// The one timer of a state. The specification says how long it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Until the sidecar must be ready.
    Ready,
    /// Until the rest of the group is asked to end: half of the grace period after this time.
    LeaderGrace { asked_at: Duration },
    /// Until the group is killed: the grace period after this time.
    Grace { asked_at: Duration },
    /// Until a killed group that has not ended is swept.
    Kill,
    /// Until the supervisor abandons a swept group that has not ended.
    Sweep,
    /// Until the next start.
    BackOff(Duration),
    /// Until an unused sidecar is stopped: the declared time without a use after this time.
    Idle { since: Duration },
}

use Action::Check;

impl Lifecycle {
    /// The first state and its actions, for a requested start.
    pub(crate) fn start(restarts: &mut Restarts) -> (Self, Vec<Action>) {
        restarts.forget();
        waiting::begin(StartReason::Requested)
    }

    /// The timer that runs in this state. It restarts only when a transition changes it.
    pub(crate) fn timer(&self, restarts: &Restarts) -> Option<Timer> {
        match self {
            Self::Waiting { .. } | Self::Idle(_) | Self::Down(_) => None,
            Self::Ready { .. } | Self::Unhealthy { .. } => {
                restarts.idle_since().map(|since| Timer::Idle { since })
            }
            Self::Starting(_) => Some(Timer::Ready),
            Self::Ending(Ending { stage: StopStage::LeaderAsked, asked_at, .. }) => {
                Some(Timer::LeaderGrace { asked_at: *asked_at })
            }
            Self::Ending(Ending { stage: StopStage::GroupAsked, asked_at, .. }) => {
                Some(Timer::Grace { asked_at: *asked_at })
            }
            Self::Ending(Ending {
                stage: StopStage::KilledLeader | StopStage::KilledRest, swept, ..
            }) => Some(if *swept { Timer::Sweep } else { Timer::Kill }),
            Self::BackingOff(BackingOff { pause, .. }) => Some(Timer::BackOff(*pause)),
        }
    }

    /// The address, once it is known.
    pub(crate) fn listen_addr(&self) -> Option<ListenAddr> {
        match self {
            Self::Starting(Step::Checking { addr }) | Self::Ready { addr } | Self::Unhealthy { addr } => {
                *addr
            }
            Self::Starting(Step::Launching | Step::Announcing)
            | Self::Waiting { .. }
            | Self::Ending(_)
            | Self::BackingOff(_)
            | Self::Idle(_)
            | Self::Down(_) => None,
        }
    }

    /// The public state.
    pub(crate) fn state(&self) -> State {
        match self {
            Self::Waiting { .. } => State::Waiting,
            Self::Starting(_) => State::Starting,
            Self::Ready { .. } => State::Ready,
            Self::Unhealthy { .. } => State::Unhealthy,
            Self::Ending(_) => State::Stopping,
            Self::BackingOff(_) => State::BackingOff,
            Self::Idle(_) => State::Idle,
            Self::Down(ended) if ended.cause.is_failure() => State::Failed,
            Self::Down(_) => State::Stopped,
        }
    }

    /// Whether it is down or stopping, and starts again without a further request.
    pub(crate) fn will_restart(&self) -> bool {
        match self {
            Self::BackingOff(_) => true,
            Self::Ending(ending) => {
                matches!(ending.next, Next::Start | Next::StartAgain | Next::After(RestartDecision::Retry(_)))
            }
            Self::Waiting { .. }
            | Self::Starting(_)
            | Self::Ready { .. }
            | Self::Unhealthy { .. }
            | Self::Idle(_)
            | Self::Down(_) => false,
        }
    }

    /// Whether it is down or stopping, and the next use starts it.
    pub(crate) fn starts_on_use(&self) -> bool {
        match self {
            Self::Idle(_) => true,
            Self::Ending(ending) => matches!(ending.next, Next::After(RestartDecision::Idle)),
            Self::Waiting { .. }
            | Self::Starting(_)
            | Self::Ready { .. }
            | Self::Unhealthy { .. }
            | Self::BackingOff(_)
            | Self::Down(_) => false,
        }
    }

    /// Whether it will start without a further request.
    pub(crate) fn start_pending(&self) -> bool {
        matches!(self, Self::Waiting { .. }) || self.will_restart()
    }

    /// Takes one step. `now` is the time of a monotonic clock.
    pub(crate) fn on(self, event: Event, restarts: &mut Restarts, now: Duration) -> (Self, Vec<Action>) {
        if event == Event::Used {
            restarts.set_used();
        } else if event == Event::Unused {
            restarts.set_unused(now);
        }
        match self {
            Self::Waiting { blocked, reason } => waiting::on(blocked, reason, event, restarts),
            Self::Starting(step) => step.on(event, restarts, now),
            Self::Ready { addr } => up(addr, Self::Ready { addr }, event, restarts, now),
            Self::Unhealthy { addr } => up(addr, Self::Unhealthy { addr }, event, restarts, now),
            Self::Ending(ending) => ending.on(event, restarts),
            Self::BackingOff(pause) => pause.on(event, restarts),
            Self::Idle(ended) => idle(ended, event, restarts),
            Self::Down(ended) => match event {
                Event::Restart => Self::start(restarts),
                // An abandoned process may still end later.
                Event::Stop
                | Event::Kill
                | Event::Used
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
                | Event::Expired
                | Event::Exited(_)
                | Event::Gone => (Self::Down(ended), vec![]),
            },
        }
    }
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
            | Self::Hung => true,
            Self::Requested | Self::DependencyRestarted(_) | Self::Unused | Self::Finished => false,
        }
    }
}

fn idle(ended: Option<Ended>, event: Event, restarts: &mut Restarts) -> (Lifecycle, Vec<Action>) {
    match event {
        // Not a requested start: a use of a sidecar that keeps crashing must not pass the restart limit.
        Event::Used => waiting::begin(StartReason::Unrequested(ended)),
        Event::Restart => Lifecycle::start(restarts),
        Event::Stop | Event::Kill => {
            let exit = ended.and_then(|ended| ended.exit);
            down(Cause::Requested, exit, StopOutcome::NotRunning, RestartDecision::StayDown)
        }
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
        | Event::Expired
        | Event::Exited(_)
        | Event::Gone => (Lifecycle::Idle(ended), vec![]),
    }
}

/// The transitions of a sidecar that was ready; its health may be good or bad now.
fn up(
    addr: Option<ListenAddr>,
    state: Lifecycle,
    event: Event,
    restarts: &mut Restarts,
    now: Duration,
) -> (Lifecycle, Vec<Action>) {
    match event {
        Event::Stop => Ending::terminate(Cause::Requested, Next::After(RestartDecision::StayDown), now),
        Event::Kill => Ending::kill(Cause::Requested, Next::After(RestartDecision::StayDown), now),
        Event::Restart => Ending::terminate(Cause::Requested, Next::Start, now),
        Event::DependencyRestarted(name) => dependency_restarted(name, restarts, now),
        Event::Exited(exit) if exit.is_success() => died(Cause::Finished, exit, restarts, now),
        Event::Exited(exit) => died(Cause::Crashed, exit, restarts, now),
        // It was ready without an address, and has learned it now.
        Event::Announced(known) if addr.is_none() => {
            let addr = Some(known);
            let healthy = matches!(state, Lifecycle::Ready { .. });
            (if healthy { Lifecycle::Ready { addr } } else { Lifecycle::Unhealthy { addr } }, vec![])
        }
        Event::Healthy => (Lifecycle::Ready { addr }, vec![]),
        Event::Unhealthy => (Lifecycle::Unhealthy { addr }, vec![]),
        // From here on as in a start: the server at the new address has to prove itself.
        Event::Moved(addr) => {
            let addr = Some(addr);
            (Lifecycle::Starting(Step::Checking { addr }), vec![Check(addr)])
        }
        // A sidecar that must not be restarted is not killed either: it may recover.
        Event::Hung if restarts.policy == Restart::Never => (Lifecycle::Unhealthy { addr }, vec![]),
        Event::Hung => {
            let next = Next::After(restarts.after(&Cause::Hung, now));
            Ending::terminate(Cause::Hung, next, now)
        }
        Event::Expired if restarts.idle_since().is_some() => {
            restarts.interrupted();
            Ending::terminate(Cause::Unused, Next::After(RestartDecision::Idle), now)
        }
        Event::Used
        | Event::Unused
        | Event::DependenciesReady
        | Event::DependencyFailed(_)
        | Event::Launched(_)
        | Event::Attached(_)
        | Event::NotLaunched(_)
        | Event::WrongProgram(_)
        | Event::Mismatch(_)
        | Event::Announced(_)
        | Event::Extend(_)
        | Event::Expired
        | Event::Gone => (state, vec![]),
    }
}

/// Stops the sidecar, and starts it when the dependency is ready again: its connections, and the address that its placeholders gave
/// it, belong to a run that is gone.
fn dependency_restarted(name: String, restarts: &mut Restarts, now: Duration) -> (Lifecycle, Vec<Action>) {
    restarts.interrupted();
    let next = if restarts.is_unused() { Next::After(RestartDecision::Idle) } else { Next::StartAgain };
    Ending::terminate(Cause::DependencyRestarted(name), next, now)
}

fn died(cause: Cause, exit: Exit, restarts: &mut Restarts, now: Duration) -> (Lifecycle, Vec<Action>) {
    let decision = restarts.after(&cause, now);
    Ending::leader_died(cause, exit, decision, now)
}

impl BackingOff {
    fn on(self, event: Event, restarts: &mut Restarts) -> (Lifecycle, Vec<Action>) {
        match event {
            // Through `Waiting`, because a dependency may have failed as well.
            Event::Expired => waiting::begin(StartReason::Unrequested(Some(self.ended()))),
            Event::Restart => Lifecycle::start(restarts),
            Event::Stop | Event::Kill => {
                down(Cause::Requested, self.exit, StopOutcome::NotRunning, RestartDecision::StayDown)
            }
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

fn down(
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

#[cfg(test)]
mod tests;
