//! Several sidecars start after their dependencies, and stop before them.

use integration_tests::{ReportServer, TEST_TIMEOUT, run};
use pillion::{FailureKind, Fleet, FleetError, State, StopOutcome};
use tokio::sync::oneshot;

use crate::support::{assert_failure, tree};

#[test]
fn a_sidecar_starts_after_its_dependency_and_stops_before_it() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        let sidecar = |name: &str| {
            let hello = format!("report {port} {name} wait listen ok announce");
            tree.named(name, &format!("{hello} term report {port} {name}-bye wait exit 0"))
        };
        let fleet = Fleet::start([sidecar("api").depends_on(["db"]), sidecar("db")]).unwrap();
        let (api, db) = (fleet.get("api").unwrap(), fleet.get("db").unwrap());

        let mut first = reports.wait_for("db").await;
        assert_eq!(api.status().state, State::Waiting);
        first.resume().await;
        let mut second = reports.wait_for("api").await;
        assert_eq!(db.status().state, State::Ready);
        second.resume().await;
        api.ready().await.unwrap();

        let goodbyes = async {
            let mut first = reports.wait_for("api-bye").await;
            assert_eq!(db.status().state, State::Ready, "a dependency outlives its dependents");
            first.resume().await;
            reports.wait_for("db-bye").await.resume().await;
        };
        let (outcomes, ()) = tokio::join!(fleet.stop(), goodbyes);
        assert_eq!(outcomes.len(), 2);
        assert!(outcomes.values().all(|outcome| matches!(outcome, StopOutcome::Graceful(_))), "{outcomes:?}");
        tree.assert_dead();
    });
}

#[test]
fn during_a_close_a_crashed_dependency_is_not_restarted() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        let db =
            tree.named("db", &format!("report {port} db listen ok announce report {port} up wait exit 70"));
        let api = format!("listen ok announce term report {port} bye wait exit 0");
        let fleet = Fleet::start([tree.named("api", &api).depends_on(["db"]), db]).unwrap();
        reports.wait_for("db").await.resume().await;
        let mut up = reports.wait_for("up").await;
        fleet.get("api").unwrap().ready().await.unwrap();

        let db = fleet.get("db").unwrap();
        let meanwhile = async {
            let mut bye = reports.wait_for("bye").await;
            assert_failure(
                &db.restart().await.unwrap_err(),
                FailureKind::Stopped,
                &["the program is ending"],
            );
            assert_eq!(db.status().state, State::Ready, "a dependency outlives its dependents");
            up.resume().await;
            let mut changes = db.watch();
            while changes.next().await.is_some() {}
            assert_eq!(db.status().state, State::Failed, "it was restarted");
            bye.resume().await;
        };
        let (outcomes, ()) = tokio::join!(fleet.close(), meanwhile);
        assert!(matches!(outcomes["api"], StopOutcome::Graceful(_)), "{outcomes:?}");
        assert_eq!(outcomes["db"], StopOutcome::NotRunning);
        tree.assert_dead();
    });
}

#[test]
fn a_dependent_names_its_failed_dependency_and_starts_after_it_recovers() {
    run(async {
        let tree = tree();
        let dir = tempfile::tempdir().unwrap();
        let flag = dir.path().join("flag");
        let script = r#"[ -e "$0" ] && exec "$FAKE" listen ok announce term exit 0; exit 3"#;
        let db = tree.spec(tree.program("sh").args(["-c", script]).arg(&flag));
        let api = tree.named("api", "listen ok announce term exit 0").depends_on(["sidecar"]);
        let fleet = Fleet::start([db, api]).unwrap();
        let (api, db) = (fleet.get("api").unwrap(), fleet.get("sidecar").unwrap());

        let failure = api.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::Dependency, &["api waits for", "sidecar exited with code 3"]);
        assert_eq!(api.status().state, State::Waiting);
        std::fs::write(&flag, "").unwrap();
        db.restart().await.unwrap();
        // It learns of the recovery by an event of the dependency.
        let mut changes = api.watch();
        while changes.next().await.unwrap().state != State::Ready {}
        fleet.stop().await;
    });
}

#[test]
fn a_failed_optional_dependency_does_not_block_its_dependents() {
    run(async {
        let tree = tree();
        let cache = tree.named("cache", "exit 3").optional(true);
        let api = tree.named("api", "listen ok announce term exit 0").depends_on(["cache"]);
        let fleet = Fleet::start([cache, api]).unwrap();
        fleet.get("api").unwrap().ready().await.unwrap();
        assert_eq!(fleet.get("cache").unwrap().ready().await.unwrap_err().kind, FailureKind::ExitedEarly);
        fleet.stop().await;
    });
}

#[test]
fn an_invalid_fleet_starts_no_process() {
    run(async {
        let tree = tree();
        let a = tree.named("a", "park").depends_on(["b"]);
        let b = tree.named("b", "park").depends_on(["a"]);
        let error = Fleet::start([a.clone(), b]).unwrap_err();
        assert!(matches!(&error, FleetError::Cycle(path) if path.len() == 3), "{error}");
        assert!(matches!(Fleet::start([a.clone()]), Err(FleetError::Unknown { .. })));
        assert!(matches!(Fleet::start([a.clone(), a]), Err(FleetError::Twice(_))));
        tree.assert_dead();
    });
}

#[test]
fn sidecars_that_are_stopped_for_an_update_start_again_if_it_fails() {
    run(async {
        let tree = tree();
        let db = tree.named("db", "listen ok announce term exit 0");
        let api = tree.named("api", "listen ok announce term exit 0").depends_on(["db"]);
        let off = tree.named("off", "listen ok announce term exit 0");
        let fleet = Fleet::start([api, db, off]).unwrap();
        let [api, db, off] = ["api", "db", "off"].map(|name| fleet.get(name).unwrap());
        let first = api.ready().await.unwrap();
        off.ready().await.unwrap();
        let _ = off.stop().await;
        let all_stopped = || [api, db, off].iter().all(|it| it.status().state == State::Stopped);

        let failed =
            fleet.stop_while(async { if all_stopped() { Err::<(), _>("no space") } else { Ok(()) } });
        assert_eq!(failed.await, Err("no space"), "they were not stopped while the update was installed");
        assert_ne!(api.ready().await.unwrap().pid, first.pid);
        assert_eq!(off.status().state, State::Stopped, "it did not run before");

        assert_eq!(fleet.stop_while(async { Ok::<_, &str>(5) }).await, Ok(5));
        assert!(all_stopped(), "the new version of the app starts them");
        tree.assert_dead();
    });
}

#[test]
fn a_sidecar_that_was_stopping_on_request_stays_stopped_after_a_failed_update() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen ok announce term report {} bye wait exit 0", reports.port());
        let fleet = Fleet::start([tree.named("api", &steps).grace(TEST_TIMEOUT)]).unwrap();
        let api = fleet.get("api").unwrap();
        api.ready().await.unwrap();
        let (stop, stopping) = (api.clone(), reports.wait_for("bye"));
        let stop = tokio::spawn(async move { stop.stop().await });
        let mut stopping = stopping.await;

        let update = fleet.stop_while(async { Err::<(), _>("no space") });
        let resume = stopping.resume();
        assert_eq!(tokio::join!(update, resume).0, Err("no space"));
        let _ = stop.await.unwrap();
        assert_eq!(api.status().state, State::Stopped);
        tree.assert_dead();
    });
}

#[test]
fn sidecars_that_are_stopped_for_an_update_start_again_if_it_is_given_up() {
    run(async {
        let tree = tree();
        let fleet = Fleet::start([tree.named("api", "listen ok announce term exit 0")]).unwrap();
        let api = fleet.get("api").unwrap();
        let first = api.ready().await.unwrap();

        let (begun, begins) = oneshot::channel();
        let update = fleet.stop_while(async {
            begun.send(()).unwrap();
            std::future::pending::<Result<(), ()>>().await
        });
        tokio::select! {
            _ = update => unreachable!("it never ends"),
            begun = begins => begun.unwrap(),
        }
        let mut watch = api.watch();
        while watch.next().await.unwrap().state == State::Stopped {}
        assert_ne!(api.ready().await.unwrap().pid, first.pid);
        fleet.stop().await;
        tree.assert_dead();
    });
}
