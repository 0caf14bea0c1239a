//! A restart to another specification begins when the old process is gone, whatever the sidecar did before.

use std::time::Duration;

use integration_tests::{ReportServer, run};
use pillion::{FailureKind, Fleet, Listen, Readiness, State, Supervisor};

use crate::support::{assert_failure, state, tree};

#[test]
fn the_next_process_starts_when_the_old_one_is_gone() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let old = format!("listen ok announce term report {} bye wait exit 0", reports.port());
        let (supervisor, _) = Supervisor::start(tree.sidecar(&old).grace(Duration::MAX));
        let before = supervisor.ready().await.unwrap();
        let next = format!("report {} next listen ok announce park", reports.port());
        let (after, next) = tokio::join!(supervisor.restart_to(tree.sidecar(&next)), async {
            let mut bye = reports.wait_for("bye").await;
            let status = supervisor.status();
            assert_eq!((status.state, status.readiness), (State::Waiting, Readiness::Pending));
            assert_eq!(status.reason.as_deref(), Some("waiting for the end of its last process"));
            assert_eq!(tree.sidecars().len(), 1);
            bye.resume().await;
            reports.wait_for("next").await
        });
        let after = after.unwrap();
        assert!(after.pid != before.pid);
        assert_eq!(tree.sidecars().len(), 1);
        // It replaces the first specification for good.
        drop(next);
        supervisor.restart().await.unwrap();
        reports.wait_for("next").await;
        let ends = supervisor.exit_reports().await;
        assert_eq!(ends.iter().map(|end| end.sidecar.as_str()).collect::<Vec<_>>(), ["sidecar"; 2]);
    });
}

#[test]
fn the_status_names_the_wait_for_the_old_process_after_that_for_dependencies() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let old = format!("listen ok announce term report {} bye wait exit 0", reports.port());
        let api = |steps: &str| tree.named("api", steps).depends_on(["db"]);
        let fleet = Fleet::start([api(&old), tree.named("db", "listen ok announce park")]).unwrap();
        let supervisor = fleet.get("api").unwrap();
        supervisor.ready().await.unwrap();
        let (after, ()) = tokio::join!(supervisor.restart_to(api("listen ok announce park")), async {
            let mut bye = reports.wait_for("bye").await;
            let mut statuses = supervisor.watch();
            let last = "waiting for the end of its last process";
            while statuses.next().await.unwrap().reason.as_deref() != Some(last) {}
            bye.resume().await;
        });
        after.unwrap();
    });
}

#[test]
fn a_start_that_is_under_way_is_given_up() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, _) =
            Supervisor::start(tree.sidecar(&format!("report {} loading term exit 0", reports.port())));
        let loading = reports.wait_for("loading").await;
        supervisor.restart_to(tree.sidecar("listen ok announce park")).await.unwrap();
        loading.wait_death().await;
        assert_eq!(tree.sidecars().len(), 1);
    });
}

#[test]
fn a_sidecar_that_is_down_starts() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = Supervisor::start(tree.sidecar("exit 3"));
        state(&mut events, State::Failed).await;
        supervisor.restart_to(tree.sidecar("listen ok announce park")).await.unwrap();
        let failure = supervisor.restart_to(tree.sidecar("exit 4")).await.unwrap_err();
        assert_failure(&failure, FailureKind::ExitedEarly, &["sidecar exited with code 4"]);
    });
}

#[test]
fn the_port_stays() {
    run(async {
        let tree = tree();
        let assigned = |steps: &str| {
            tree.spec(tree.fake(steps).listen(Listen::Assigned).port_env("MY_PORT").private(false))
        };
        for [first, next] in [
            ["listen-on MY_PORT ok park", "out next\\n listen-on MY_PORT ok park"].map(assigned),
            ["inherit ok announce park", "out next\\n inherit ok announce park"]
                .map(|steps| tree.spec(tree.fake(steps).handover(true))),
        ] {
            let (supervisor, _) = Supervisor::start(first);
            let before = supervisor.ready().await.unwrap();
            let after = supervisor.restart_to(next).await.unwrap();
            assert_ne!(after.pid, before.pid);
            assert_eq!(after.port, before.port);
        }
    });
}

#[test]
fn a_stop_ends_both_processes() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let old = format!("listen ok announce term report {} bye wait exit 0", reports.port());
        let (supervisor, _) = Supervisor::start(tree.sidecar(&old).grace(Duration::MAX));
        supervisor.ready().await.unwrap();
        let (restarted, ()) =
            tokio::join!(supervisor.restart_to(tree.sidecar("out started\\n park")), async {
                let mut bye = reports.wait_for("bye").await;
                // The first poll of the stop sends the request.
                let (_, ()) = tokio::join!(supervisor.stop(), bye.resume());
                tree.assert_dead();
            });
        assert_failure(&restarted.unwrap_err(), FailureKind::Stopped, &["sidecar"]);
        assert_eq!(supervisor.status().state, State::Stopped);
    });
}

#[test]
fn a_closed_sidecar_refuses_it() {
    run(async {
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.sidecar("listen ok announce term exit 0"));
        supervisor.ready().await.unwrap();
        let _ = supervisor.close().await;
        let refused = supervisor.restart_to(tree.sidecar("listen ok announce park")).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Stopped, "{refused:?}");
        tree.assert_dead();
    });
}
