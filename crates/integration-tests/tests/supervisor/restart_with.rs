//! A sidecar is restarted with its dependency, and is then told where that listens.

use integration_tests::{ProcessTree, ReportServer, run};
use pillion::{Endpoint, Events, Fleet, Restart, SidecarEvent, Spec, State, StopOutcome};

use crate::support::{line, notice, state, tree};

/// A sidecar that writes where `db` listens.
fn api(tree: &ProcessTree) -> Spec {
    let program =
        tree.fake("env DB listen ok announce term exit 0").env("DB", "${sidecar.db.port}").placeholders(true);
    Spec::run("api", program).restart_with(["db"]).ready_timeout(integration_tests::TEST_TIMEOUT)
}

/// Waits until `api` was started with the present port of `db`, and is ready.
async fn started_with(api: &mut Events, db: &Endpoint) -> u32 {
    line(api, &format!("DB={}", db.port.unwrap())).await;
    state(api, State::Ready).await.pid.unwrap()
}

#[test]
fn a_crash_stops_the_dependent_which_starts_with_the_new_port_once_the_dependency_is_ready() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        let db = format!("report {port} db wait listen ok announce report {port} up wait exit 70");
        let fleet = Fleet::start([api(&tree), tree.named("db", &db).restart(Restart::OnFailure)]).unwrap();
        let (api, db) = (fleet.get("api").unwrap(), fleet.get("db").unwrap());
        let mut events = api.subscribe().unwrap();
        reports.wait_for("db").await.resume().await;
        let before = db.ready().await.unwrap();
        let first = started_with(&mut events, &before).await;

        reports.wait_for("up").await.resume().await;
        let stopping = state(&mut events, State::Stopping).await;
        assert_eq!(stopping.reason.unwrap(), "restarted with db");
        // Its old process ends while the dependency is not ready.
        let mut again = reports.wait_for("db").await;
        state(&mut events, State::Waiting).await;
        again.resume().await;
        let after = db.ready().await.unwrap();
        assert_ne!(before.pid, after.pid);
        assert_ne!(started_with(&mut events, &after).await, first);
        // Only a crash of its own counts.
        assert_eq!((db.status().restarts, api.status().restarts), (1, 0));
        drop(fleet.close().await);
        tree.assert_dead();
    });
}

#[test]
fn a_requested_restart_and_a_swap_restart_the_dependents_and_theirs() {
    run(async {
        let tree = tree();
        let web = tree.named("web", "listen ok announce term exit 0").restart_with(["api"]);
        let other = tree.named("other", "listen ok announce term exit 0").depends_on(["db"]);
        let db = tree.named("db", "listen ok announce term exit 0");
        let fleet = Fleet::start([web, api(&tree), db, other]).unwrap();
        let db = fleet.get("db").unwrap();
        let mut events = ["api", "web", "other"].map(|name| fleet.get(name).unwrap().subscribe().unwrap());
        let [api, web, other] = &mut events;
        let mut pids =
            (started_with(api, &db.ready().await.unwrap()).await, state(web, State::Ready).await.pid);
        let unchanged = state(other, State::Ready).await.pid;
        for swap in [false, true] {
            let moved = if swap { db.swap().await.unwrap() } else { db.restart().await.unwrap() };
            state(web, State::Waiting).await;
            let next = (started_with(api, &moved).await, state(web, State::Ready).await.pid);
            assert!(next.0 != pids.0 && next.1 != pids.1, "swap: {swap}");
            pids = next;
        }
        // A dependency alone does not restart it.
        assert_eq!(fleet.get("other").unwrap().status().pid, unchanged);
        drop(fleet.close().await);
    });
}

#[test]
fn a_stop_of_the_dependency_stops_no_dependent_and_its_next_start_restarts_them() {
    run(async {
        let tree = tree();
        let db = tree.named("db", "listen ok announce term exit 0");
        let fleet = Fleet::start([api(&tree), db]).unwrap();
        let (api, db) = (fleet.get("api").unwrap(), fleet.get("db").unwrap());
        let mut events = api.subscribe().unwrap();
        let first = started_with(&mut events, &db.ready().await.unwrap()).await;
        assert!(matches!(db.stop().await, StopOutcome::Graceful(_)));
        assert_eq!(api.ready().await.unwrap().pid, Some(first));
        let again = db.restart().await.unwrap();
        assert_ne!(started_with(&mut events, &again).await, first);
        drop(fleet.close().await);
    });
}

#[test]
fn a_dependency_that_is_restarted_during_the_start_of_a_dependent_restarts_that() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("report {} starting wait listen ok announce park", reports.port());
        let api = tree.named("api", &steps).restart_with(["db"]);
        let fleet = Fleet::start([api, tree.named("db", "listen ok announce term exit 0")]).unwrap();
        let first = reports.wait_for("starting").await;
        fleet.get("db").unwrap().restart().await.unwrap();
        first.wait_death().await;
        reports.wait_for("starting").await.resume().await;
        fleet.get("api").unwrap().ready().await.unwrap();
        drop(fleet.close().await);
        tree.assert_dead();
    });
}

#[test]
fn a_dependent_that_is_stopped_stays_so_when_its_dependency_is_restarted() {
    run(async {
        let tree = tree();
        let fleet = Fleet::start([api(&tree), tree.named("db", "listen ok announce term exit 0")]).unwrap();
        let (api, db) = (fleet.get("api").unwrap(), fleet.get("db").unwrap());
        api.ready().await.unwrap();
        assert!(matches!(api.stop().await, StopOutcome::Graceful(_)));
        let stopped = api.status();
        db.restart().await.unwrap();
        assert_eq!(api.status(), stopped);
        // By its own restart it starts as usual.
        api.restart().await.unwrap();
        drop(fleet.close().await);
    });
}

#[test]
fn a_close_ends_a_dependent_that_waits_for_the_restart_of_its_dependency() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        let db = format!("report {port} db wait listen ok announce report {port} up wait exit 70");
        let fleet = Fleet::start([api(&tree), tree.named("db", &db).restart(Restart::OnFailure)]).unwrap();
        let mut events = fleet.get("api").unwrap().subscribe().unwrap();
        reports.wait_for("db").await.resume().await;
        state(&mut events, State::Ready).await;
        reports.wait_for("up").await.resume().await;
        state(&mut events, State::Waiting).await;
        let outcomes = fleet.close().await;
        assert_eq!(outcomes.len(), 2);
        assert_eq!(fleet.get("api").unwrap().status().state, State::Stopped);
        tree.assert_dead();
    });
}

#[test]
fn a_dependent_that_goes_on_with_an_old_port_is_reported_with_the_cures() {
    run(async {
        let tree = tree();
        let server = "listen ok announce term exit 0";
        let db = tree.named("db", server);
        let told = |name: &str, text: &str| {
            let program = tree.fake(server).env("DB", text).placeholders(true);
            Spec::run(name, program).depends_on(["db"]).ready_timeout(integration_tests::TEST_TIMEOUT)
        };
        let fleet = Fleet::start([
            told("api", "${sidecar.db.port}"),
            told("web", "at ${sidecar.db.url}/"),
            told("other", "$${sidecar.db.port}"),
            db,
        ])
        .unwrap();
        let sidecar = |name| fleet.get(name).unwrap();
        let mut events = ["api", "web", "other"].map(|name| sidecar(name).subscribe().unwrap());
        let before = sidecar("db").ready().await.unwrap();
        for name in ["api", "web", "other"] {
            sidecar(name).ready().await.unwrap();
        }
        let pid = sidecar("api").status().pid;
        // Both runs live for a moment, so that their ports differ.
        let after = sidecar("db").swap().await.unwrap();
        let [api, web, other] = &mut events;
        let (old, new) = (before.port.unwrap(), after.port.unwrap());
        let text = notice(api).await;
        let fact = format!("${{sidecar.db.port}} was {old} when it started, and is now {new}");
        assert!(text.starts_with(&fact), "{text}");
        for cure in ["add \"db\" to `restartWith`", "\"port\": \"assigned\"", "\"handover\": true"] {
            assert!(text.contains(cure), "{text}");
        }
        let text = notice(web).await;
        let (old, new) = (before.url.unwrap(), after.url.unwrap());
        assert!(
            text.starts_with(&format!("${{sidecar.db.url}} was {old} when it started, and is now {new}")),
            "{text}"
        );
        assert_eq!(sidecar("api").status().pid, pid, "it is not restarted");
        drop(fleet.close().await);
        while let Some(event) = other.next().await {
            assert!(!matches!(event, SidecarEvent::Notice(_)), "it was told no port: {event:?}");
        }
    });
}
