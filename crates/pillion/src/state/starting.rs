//! The start of a sidecar: launch, announcement, ready check.

use std::time::Duration;

use pillion_protocol::ListenAddr;

use super::{
    Action::{self, Check},
    Awaits, Cause, Ending, Event, Lifecycle, Next, RestartDecision, Restarts,
    down::down,
};
use crate::status::StopOutcome;

/// The progress of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Launching,
    Announcing,
    /// The address is `None` if none is known yet and the check needs none.
    Checking {
        addr: Option<ListenAddr>,
    },
}

impl Step {
    pub(super) fn on(self, event: Event, restarts: &mut Restarts, now: Duration) -> (Lifecycle, Vec<Action>) {
        let stay = (Lifecycle::Starting(self), vec![]);
        match event {
            Event::Restart => {
                restarts.forget();
                stay
            }
            Event::Stop(by) => Ending::stop(by, now),
            Event::Kill => Ending::kill(now),
            Event::Expired => Ending::fail(Cause::TimedOut(self), restarts, now),
            Event::NotLaunched(reason) => {
                let cause = Cause::NotLaunched(reason);
                let decision = restarts.after(&cause, now);
                down(cause, None, StopOutcome::NotRunning, decision)
            }
            Event::WrongProgram(reason) => {
                down(Cause::Mismatch(reason), None, StopOutcome::NotRunning, RestartDecision::StayDown)
            }
            Event::Mismatch(reason) => {
                Ending::begin(Cause::Mismatch(reason), Next::After(RestartDecision::StayDown), now)
            }
            // The sidecar itself says that it hangs, so the supervisor does not wait for the time-out.
            Event::Hung => Ending::fail(Cause::Hung, restarts, now),
            Event::MemoryExceeded => Ending::fail(Cause::MemoryExceeded, restarts, now),
            Event::Exited(exit) => Ending::leader_died(Cause::ExitedEarly(self), exit, restarts, now),
            Event::DependencyRestarted(name) => Ending::dependency_restarted(name, restarts, now),
            Event::Launched(awaits) => match (self, awaits) {
                (Self::Launching, Awaits::Announcement) => (Lifecycle::Starting(Self::Announcing), vec![]),
                (Self::Launching, Awaits::Check(addr)) => Self::check(addr),
                (Self::Launching, Awaits::Nothing(addr)) => ready(addr, restarts, now),
                (Self::Announcing | Self::Checking { .. }, _) => stay,
            },
            Event::Attached(addr) => match self {
                Self::Launching => Self::check(Some(addr)),
                Self::Announcing | Self::Checking { .. } => stay,
            },
            // The first announcement counts while anything accepts connections there: no later line changes the address.
            Event::Announced(addr) => match self {
                Self::Announcing => Self::check(Some(addr)),
                // The check under way needs no address.
                Self::Checking { addr: None } => {
                    (Lifecycle::Starting(Self::Checking { addr: Some(addr) }), vec![])
                }
                Self::Launching | Self::Checking { addr: Some(_) } => stay,
            },
            Event::Moved(addr) => match self {
                Self::Checking { .. } => Self::check(Some(addr)),
                Self::Launching | Self::Announcing => stay,
            },
            Event::Extend(by) => (Lifecycle::Starting(self), vec![Action::Extend(by)]),
            Event::Healthy => match self {
                Self::Checking { addr } => ready(addr, restarts, now),
                Self::Launching | Self::Announcing => stay,
            },
            Event::Used
            | Event::Unused
            | Event::Unhealthy
            | Event::DependenciesReady
            | Event::DependencyFailed(_)
            | Event::Gone => stay,
        }
    }

    fn check(addr: Option<ListenAddr>) -> (Lifecycle, Vec<Action>) {
        (Lifecycle::Starting(Self::Checking { addr }), vec![Check(addr)])
    }
}

fn ready(addr: Option<ListenAddr>, restarts: &mut Restarts, now: Duration) -> (Lifecycle, Vec<Action>) {
    restarts.ready(now);
    (Lifecycle::Ready { addr }, vec![])
}
