//! The wait for the dependencies, before the launch.

use super::{
    Action::{self, Launch, Wait},
    Ended, Event, Lifecycle, Restarts, Step,
    down::stopped,
};

/// Why a sidecar is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartReason {
    /// It was requested. The start goes on without a use.
    Requested,
    /// A use of a sidecar on demand, or a restart. How the last run ended, if the sidecar has run.
    Unrequested(Option<Ended>),
}

/// Waits for the dependencies of a sidecar that is started for this reason.
pub(super) fn begin(reason: StartReason) -> (Lifecycle, Vec<Action>) {
    (Lifecycle::Waiting { blocked: None, reason }, vec![Wait])
}

pub(super) fn on(
    blocked: Option<String>,
    reason: StartReason,
    event: Event,
    restarts: &mut Restarts,
) -> (Lifecycle, Vec<Action>) {
    match event {
        Event::DependenciesReady => (Lifecycle::Starting(Step::Launching), vec![Launch]),
        Event::DependencyFailed(why) => (Lifecycle::Waiting { blocked: Some(why), reason }, vec![]),
        Event::Restart => {
            restarts.forget();
            (Lifecycle::Waiting { blocked, reason: StartReason::Requested }, vec![])
        }
        Event::Stop(_) | Event::Kill => stopped(match reason {
            StartReason::Unrequested(Some(ended)) => ended.exit,
            StartReason::Unrequested(None) | StartReason::Requested => None,
        }),
        Event::Unused => match reason {
            StartReason::Unrequested(ended) if restarts.runs_on_demand() => (Lifecycle::Idle(ended), vec![]),
            StartReason::Unrequested(_) | StartReason::Requested => {
                (Lifecycle::Waiting { blocked, reason }, vec![])
            }
        },
        Event::Used
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
        | Event::Gone => (Lifecycle::Waiting { blocked, reason }, vec![]),
    }
}
