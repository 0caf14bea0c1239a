//! The start of a sidecar: launch, announcement, first healthy answer.

use std::time::Duration;

use pillion_protocol::ListenAddr;

use super::{
    Action::{self, Probe},
    Cause, Ending, Event, Lifecycle, Next, RestartDecision, Restarts, died, down,
};
use crate::status::StopOutcome;

/// The progress of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Launching,
    Announcing,
    Probing { addr: ListenAddr },
}

impl Step {
    pub(super) fn on(self, event: Event, restarts: &mut Restarts, now: Duration) -> (Lifecycle, Vec<Action>) {
        let stay = (Lifecycle::Starting(self), vec![]);
        match event {
            Event::Restart => {
                restarts.forget();
                stay
            }
            Event::Stop => Ending::terminate(Cause::Requested, Next::After(RestartDecision::StayDown), now),
            Event::Kill => Ending::kill(Cause::Requested, Next::After(RestartDecision::StayDown), now),
            Event::Expired => {
                let cause = Cause::TimedOut(self);
                let next = Next::After(restarts.after(&cause, now));
                Ending::terminate(cause, next, now)
            }
            Event::NotLaunched(reason) => {
                let cause = Cause::NotLaunched(reason);
                let decision = restarts.after(&cause, now);
                down(cause, None, StopOutcome::NotRunning, decision)
            }
            Event::Exited(exit) => died(Cause::ExitedEarly(self), exit, restarts, now),
            Event::Launched(None) => match self {
                Self::Launching => (Lifecycle::Starting(Self::Announcing), vec![]),
                Self::Announcing | Self::Probing { .. } => stay,
            },
            Event::Launched(Some(addr)) | Event::Attached(addr) => match self {
                Self::Launching => (Lifecycle::Starting(Self::Probing { addr }), vec![Probe(addr)]),
                Self::Announcing | Self::Probing { .. } => stay,
            },
            // The first announcement counts while anything accepts connections there: no later line changes the address.
            Event::Announced(addr) => match self {
                Self::Announcing => (Lifecycle::Starting(Self::Probing { addr }), vec![Probe(addr)]),
                Self::Launching | Self::Probing { .. } => stay,
            },
            Event::Moved(addr) => match self {
                Self::Probing { .. } => (Lifecycle::Starting(Self::Probing { addr }), vec![Probe(addr)]),
                Self::Launching | Self::Announcing => stay,
            },
            Event::Healthy => match self {
                Self::Probing { addr } => {
                    restarts.ready(now);
                    (Lifecycle::Ready { addr }, vec![])
                }
                Self::Launching | Self::Announcing => stay,
            },
            Event::Unhealthy
            | Event::Hung
            | Event::DependenciesReady
            | Event::DependencyFailed(_)
            | Event::Gone => stay,
        }
    }
}
