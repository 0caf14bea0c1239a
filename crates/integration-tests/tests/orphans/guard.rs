//! Something happens to the guard itself.

use integration_tests::orphans::{Death, Moment, Scenario, SidecarKind};

use crate::support::{nobody_survives, programs};

#[test]
fn it_is_killed() {
    nobody_survives(SidecarKind::ALL.map(|kind| Scenario::new(Death::GuardKilled, kind)));
}

#[test]
fn it_is_killed_while_the_sidecar_starts() {
    nobody_survives(
        SidecarKind::ALL
            .map(|kind| Scenario { moment: Moment::Starting, ..Scenario::new(Death::GuardKilled, kind) }),
    );
}

#[test]
fn it_is_stopped_when_the_app_stops_the_sidecar() {
    nobody_survives(SidecarKind::ALL.map(|kind| Scenario::new(Death::GuardStopped, kind)));
}

#[test]
fn it_is_stopped_while_the_app_stops_the_sidecar() {
    nobody_survives(
        [SidecarKind::IgnoresSigterm, SidecarKind::GrandchildIgnoresSigterm, SidecarKind::Subreaper]
            .map(|kind| Scenario { moment: Moment::Stopping, ..Scenario::new(Death::GuardStopped, kind) }),
    );
}

/// Then nobody is left to wake it but the kernel (`PR_SET_PDEATHSIG`).
#[test]
fn it_is_stopped_when_the_app_is_killed() {
    nobody_survives(SidecarKind::ALL.map(|kind| Scenario::new(Death::HostKilledGuardStopped, kind)));
}

#[test]
fn it_is_stopped_when_the_app_is_killed_while_the_sidecar_stops() {
    nobody_survives(SidecarKind::ALL.map(|kind| Scenario {
        moment: Moment::Stopping,
        ..Scenario::new(Death::HostKilledGuardStopped, kind)
    }));
}

/// Then nobody is left to clean up but the kernel, which kills the sidecar's first process (`PR_SET_PDEATHSIG`).
#[test]
fn it_is_killed_together_with_the_app() {
    let alone = SidecarKind::ALL.into_iter().filter(|kind| kind.is_one_process());
    nobody_survives(alone.map(|kind| Scenario::new(Death::GuardAndHostKilled, kind)));
}

/// The one case that is known to leave somebody behind. It shows as well that these tests see a survivor.
#[test]
fn killed_together_with_the_app_it_leaves_a_deaf_daemon() {
    integration_tests::run(async {
        let outcome =
            Scenario::new(Death::GuardAndHostKilled, SidecarKind::Daemon).run(&programs()).await.unwrap();
        assert_eq!(outcome.survivors.len(), 1, "{outcome:?}");
    });
}
