//! The next start of an app reports how a run ended that the app did not outlive.

use std::{fs, sync::Arc};

use integration_tests::{ReportServer, run};
use pillion::{EndReason, Events, Exit, ExitReport, KillReason, SidecarEvent, Spec, Supervisor};
use rustix::process::Signal;

use crate::support::{FakeHost, HOUR, fake_sidecar};

/// A later start of the app. Its sidecar waits for its first use.
fn next_start(folder: &std::path::Path) -> (Supervisor, Events) {
    Supervisor::start(Spec::run("sidecar", "./absent").on_demand(true).keep_exit_reports(folder))
}

async fn ended(events: &mut Events) -> Arc<ExitReport> {
    loop {
        if let SidecarEvent::Ended(report) = events.next().await.unwrap() {
            return report;
        }
    }
}

async fn host(
    reports: &ReportServer,
    folder: &std::path::Path,
    grace: std::time::Duration,
    steps: &str,
) -> FakeHost {
    let variable = Some(("FAKE_HOST_REPORTS", folder.to_str().unwrap().to_owned()));
    let host = FakeHost::start_with(reports, grace, variable, &fake_sidecar(steps));
    reports.wait_for("host").await;
    host
}

#[test]
fn a_sidecar_that_its_guard_stopped_after_the_death_of_the_app_is_reported_at_the_next_start() {
    run(async {
        let (folder, reports) = (tempfile::tempdir().unwrap(), ReportServer::new().await);
        let sidecars = ReportServer::new().await;
        let steps = format!(
            "listen ok announce err words\\n report {} up memory 150 cpu 100 term report {} asked wait exit 7",
            sidecars.port(),
            sidecars.port()
        );
        let mut host = host(&reports, folder.path(), HOUR, &steps).await;
        let sidecar = sidecars.wait_for("up").await;
        host.kill().await;
        let mut asked = sidecars.wait_for("asked").await;
        // The guard has not ended the run yet: it is not reported, and certainly not as an end that was not seen.
        let (meanwhile, mut events) = next_start(folder.path());
        assert_eq!(meanwhile.exit_reports().await, []);
        asked.resume().await;
        sidecar.wait_death().await;
        let report = ended(&mut events).await;
        assert_eq!((report.reason, report.exit), (EndReason::AppDeath, Some(Exit::with_code(7))));
        assert_eq!((report.killed, report.core_dumped, report.run), (None, Some(false), 1));
        assert!(
            report.ready_after_ms.is_some() && report.pid.is_some() && report.lifetime_ms.is_some(),
            "{report:?}"
        );
        assert!(report.cpu_time_ms.unwrap() >= 90 && report.peak_memory.unwrap() >= 150 << 20, "{report:?}");
        let summary = report.summary();
        assert!(
            summary.starts_with(
                "sidecar exited with code 7 after the app had died, and its guard stopped it. It ran for"
            ),
            "{summary}"
        );
        // The start after that one reads the report from its file, and tells it once.
        let (later, _events) = next_start(folder.path());
        assert_eq!(later.exit_reports().await, [ExitReport::clone(&report)]);
        let files: Vec<_> = fs::read_dir(folder.path().join("sidecar")).unwrap().flatten().collect();
        assert_eq!(files.len(), 1, "{files:?}");
    });
}

#[test]
fn a_sidecar_that_its_guard_killed_after_the_grace_period_is_reported_so() {
    run(async {
        let (folder, reports) = (tempfile::tempdir().unwrap(), ReportServer::new().await);
        let sidecars = ReportServer::new().await;
        let steps = format!("listen ok announce report {} up ignore-term park", sidecars.port());
        let grace = std::time::Duration::from_millis(200);
        let mut host = host(&reports, folder.path(), grace, &steps).await;
        let sidecar = sidecars.wait_for("up").await;
        host.kill().await;
        sidecar.wait_death().await;
        let (_supervisor, mut events) = next_start(folder.path());
        let report = ended(&mut events).await;
        assert_eq!((report.reason, report.exit), (EndReason::AppDeath, Some(Exit::with_signal(9))));
        let killed = report.killed.unwrap();
        assert_eq!((killed.why, killed.leader), (KillReason::GraceOver, true));
    });
}

#[test]
fn an_end_that_neither_app_nor_guard_saw_is_reported_without_an_exit() {
    run(async {
        let (folder, reports) = (tempfile::tempdir().unwrap(), ReportServer::new().await);
        let sidecars = ReportServer::new().await;
        let steps = format!("listen ok announce report {} up park", sidecars.port());
        let mut host = host(&reports, folder.path(), HOUR, &steps).await;
        let sidecar = sidecars.wait_for("up").await;
        let guard = host.tree.alive().into_iter().find(integration_tests::LiveProcess::is_guard).unwrap();
        // The app is frozen, so that it does not see the death of the guard, which kills the sidecar.
        host.freeze();
        guard.signal(Signal::KILL).unwrap();
        sidecar.wait_death().await;
        host.kill().await;
        let (_supervisor, mut events) = next_start(folder.path());
        let report = ended(&mut events).await;
        assert_eq!((report.reason, report.exit, report.ended_at), (EndReason::AppDeath, None, None));
        assert!(report.pid.is_some() && report.summary().contains("was not seen"), "{report:?}");
    });
}
