//! The transitions of a sidecar that was ready.

use std::time::Duration;

use pillion_protocol::ListenAddr;

use crate::{
    spec::Restart,
    state::{Action, Cause, Ending, Event, Lifecycle, Next, Requester, RestartDecision, Restarts, Step},
};

/// One step; `state` says whether its health is good or bad now.
pub(super) fn on(
    addr: Option<ListenAddr>,
    state: Lifecycle,
    event: Event,
    restarts: &mut Restarts,
    now: Duration,
) -> (Lifecycle, Vec<Action>) {
    match event {
        Event::Stop(by) => Ending::stop(by, now),
        Event::Kill => Ending::kill(now),
        Event::Restart => Ending::begin(Cause::Requested(Requester::Restart), Next::Start, now),
        Event::DependencyRestarted(name) => Ending::dependency_restarted(name, restarts, now),
        Event::Exited(exit) if exit.is_success() => Ending::leader_died(Cause::Finished, exit, restarts, now),
        Event::Exited(exit) => Ending::leader_died(Cause::Crashed, exit, restarts, now),
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
            (Lifecycle::Starting(Step::Checking { addr }), vec![Action::Check(addr)])
        }
        // A sidecar that must not be restarted is not killed either: it may recover.
        Event::Hung if restarts.policy == Restart::Never => (Lifecycle::Unhealthy { addr }, vec![]),
        Event::Hung => Ending::fail(Cause::Hung, restarts, now),
        // Also if it must not be restarted: it would take the memory of other programs.
        Event::MemoryExceeded => Ending::fail(Cause::MemoryExceeded, restarts, now),
        Event::Expired if restarts.idle_since().is_some() => {
            restarts.interrupted();
            Ending::begin(Cause::Unused, Next::After(RestartDecision::Idle), now)
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
