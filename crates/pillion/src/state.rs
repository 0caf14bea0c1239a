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
mod down;
mod ending;
mod event;
mod restarts;
mod starting;
mod up;
mod waiting;

use std::time::Duration;

use pillion_protocol::ListenAddr;

use crate::status::State;
pub(crate) use demand::Demand;
pub(crate) use down::{BackingOff, Cause, Ended};
pub(crate) use ending::{Ending, Next, StopStage};
pub(crate) use event::{Action, Awaits, Event, Requester, Timer};
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
            Self::Ready { addr } => up::on(addr, Self::Ready { addr }, event, restarts, now),
            Self::Unhealthy { addr } => up::on(addr, Self::Unhealthy { addr }, event, restarts, now),
            Self::Ending(ending) => ending.on(event, restarts),
            Self::BackingOff(pause) => pause.on(event, restarts),
            Self::Idle(ended) => down::idle(ended, event, restarts),
            Self::Down(ended) => match event {
                Event::Restart => Self::start(restarts),
                // An abandoned process may still end later.
                Event::Stop(_)
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
                | Event::MemoryExceeded
                | Event::Expired
                | Event::Exited(_)
                | Event::Gone => (Self::Down(ended), vec![]),
            },
        }
    }
}

#[cfg(test)]
mod tests;
