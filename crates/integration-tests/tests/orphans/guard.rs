//! Deaths and interruptions of the guard itself.

use integration_tests::orphans::{Death, Moment, Scenario, SidecarKind};

use crate::support::{assert_no_survivors, programs};

#[test]
fn the_guard_is_killed() {
    assert_no_survivors(SidecarKind::ALL.map(|kind| Scenario::new(Death::GuardKilled, kind)));
}

#[test]
fn the_guard_is_killed_while_the_sidecar_starts() {
    assert_no_survivors(
        SidecarKind::ALL
            .map(|kind| Scenario { moment: Moment::Starting, ..Scenario::new(Death::GuardKilled, kind) }),
    );
}

#[test]
fn the_guard_is_frozen_when_the_app_stops_the_sidecar() {
    assert_no_survivors(SidecarKind::ALL.map(|kind| Scenario::new(Death::GuardStopped, kind)));
}

#[test]
fn the_guard_is_frozen_while_the_app_stops_the_sidecar() {
    assert_no_survivors(
        [SidecarKind::IgnoresSigterm, SidecarKind::GrandchildIgnoresSigterm, SidecarKind::Subreaper]
            .map(|kind| Scenario { moment: Moment::Stopping, ..Scenario::new(Death::GuardStopped, kind) }),
    );
}

/// Only the kernel can then continue the guard (`PR_SET_PDEATHSIG`).
#[test]
fn the_guard_is_frozen_when_the_app_is_killed() {
    assert_no_survivors(SidecarKind::ALL.map(|kind| Scenario::new(Death::HostKilledGuardStopped, kind)));
}

#[test]
fn the_guard_is_frozen_when_the_app_is_killed_while_the_sidecar_stops() {
    assert_no_survivors(SidecarKind::ALL.map(|kind| Scenario {
        moment: Moment::Stopping,
        ..Scenario::new(Death::HostKilledGuardStopped, kind)
    }));
}

/// Only the kernel can then clean up. It kills the sidecar's first process (`PR_SET_PDEATHSIG`).
#[test]
fn the_guard_is_killed_together_with_the_app() {
    let single = SidecarKind::ALL.into_iter().filter(|kind| kind.is_one_process());
    assert_no_survivors(single.map(|kind| Scenario::new(Death::GuardAndHostKilled, kind)));
}

/// The known cases with survivors: the kernel kills the first process alone. They also show that these tests detect survivors.
/// A fork storm is left out, because its number of processes changes.
#[test]
fn guard_and_app_killed_together_leave_descendants_that_do_not_notice_the_end_of_their_parent() {
    for (kind, count) in [
        (SidecarKind::GrandchildIgnoresSigterm, 1),
        (SidecarKind::Wrapper, 1),
        (SidecarKind::Daemon, 1),
        (SidecarKind::Subreaper, 1),
        (SidecarKind::LeaderExited, 1),
        // Its stdin comes from its parent, and it ends with it.
        (SidecarKind::WorkerPool, 0),
        (SidecarKind::UnmarkedGrandchild, 1),
    ] {
        integration_tests::run(async {
            let scenario = Scenario::new(Death::GuardAndHostKilled, kind);
            let scenario = Scenario { limit: Scenario::SHORT_LIMIT, ..scenario };
            let outcome = scenario.run(&programs()).await.unwrap();
            assert_eq!(outcome.survivors.len(), count, "{kind:?}: {outcome:?}");
        });
    }
}
