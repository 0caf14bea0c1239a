//! A sidecar on demand starts with its first use, and is stopped after a time without one.

use std::time::Duration;

use integration_tests::{ProcessTree, ReportServer, run};
use pillion::{FailureKind, Fleet, Readiness, Restart, Spec, State, StopOutcome, Supervisor};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{assert_failure, state, tree};

const SERVER: &str = "listen ok announce term exit 0";
/// A time without a use that no test waits for.
const NEVER: Duration = Duration::from_secs(86_400);
/// A time without a use that ends while a test waits.
const SOON: Duration = Duration::from_millis(50);

fn on_demand(tree: &ProcessTree, steps: &str) -> Spec {
    tree.sidecar(steps).on_demand(true).grace(NEVER).ready_timeout(integration_tests::TEST_TIMEOUT)
}

/// A sidecar that reports `bye` when it is asked to stop, and ends when the test answers.
fn polite(tree: &ProcessTree, reports: &ReportServer) -> Spec {
    on_demand(tree, &format!("listen ok announce term report {} bye wait exit 0", reports.port()))
}

#[test]
fn nothing_runs_before_the_first_use_and_after_a_time_without_one() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = Supervisor::start(on_demand(&tree, SERVER).idle_stop(SOON));
        let idle = state(&mut events, State::Idle).await;
        assert_eq!((idle.readiness, idle.failure, idle.pid), (Readiness::Idle, None, None));
        assert_eq!(idle.reason.unwrap(), "not started yet: its first use starts it");
        tree.assert_dead();
        let lease = supervisor.lease();
        let first = supervisor.ready().await.unwrap();
        // The lease keeps it running for as long as it exists.
        let ready = state(&mut events, State::Ready).await;
        assert_eq!((ready.pid, supervisor.status().state), (first.pid, State::Ready));
        drop(lease);
        let stopping = state(&mut events, State::Stopping).await;
        assert_eq!(stopping.readiness, Readiness::Idle);
        assert_eq!(stopping.reason.unwrap(), "asked to stop, because nothing has used it for 50 ms");
        let idle = state(&mut events, State::Idle).await;
        let reason =
            "exited with code 0 after it was asked to stop, because nothing used it; the next use starts it";
        assert_eq!(
            (idle.readiness, idle.failure, idle.reason.as_deref()),
            (Readiness::Idle, None, Some(reason))
        );
        tree.assert_dead();
        let _lease = supervisor.lease();
        assert_ne!(supervisor.ready().await.unwrap().pid, first.pid);
        assert!(matches!(supervisor.stop().await, StopOutcome::Graceful(_)));
    });
}

#[test]
fn a_use_while_it_is_stopped_for_lack_of_one_waits_for_the_next_run() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, mut events) = Supervisor::start(polite(&tree, &reports).idle_stop(SOON));
        let first = supervisor.ready().await.unwrap();
        let mut old = reports.wait_for("bye").await;
        state(&mut events, State::Stopping).await;
        let _lease = supervisor.lease();
        let next = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.ready().await }
        });
        // The use is counted before the old process may end.
        while supervisor.status().readiness != Readiness::Pending {
            let _ = events.next().await.unwrap();
        }
        old.resume().await;
        assert_ne!(next.await.unwrap().unwrap().pid, first.pid);
        let stop = async { reports.wait_for("bye").await.resume().await };
        assert!(matches!(tokio::join!(supervisor.stop(), stop).0, StopOutcome::Graceful(_)));
    });
}

#[test]
fn uses_that_race_with_the_stop_always_reach_a_run() {
    run(async {
        let tree = tree();
        let spec = on_demand(&tree, SERVER).idle_stop(Duration::ZERO);
        let (supervisor, _events) = Supervisor::start(spec);
        for _ in 0..30 {
            let lease = supervisor.lease();
            let access = supervisor.access().await.unwrap();
            let mut stream = access.connect().await.unwrap();
            stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").await.unwrap();
            let mut response = String::new();
            stream.read_to_string(&mut response).await.unwrap();
            assert!(response.starts_with("HTTP/1.1 200"), "{response}");
            // Nothing stops the run before the lease is dropped.
            let status = supervisor.status();
            assert_eq!((status.state, status.pid), (State::Ready, access.pid));
            drop(lease);
        }
        let _ = supervisor.stop().await;
        tree.assert_dead();
    });
}

#[test]
fn a_stop_during_a_start_on_demand_fails_the_waiting_use_and_stays() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("report {} starting wait listen ok announce park", reports.port());
        let (supervisor, _events) = Supervisor::start(on_demand(&tree, &steps));
        let waiting = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.ready().await }
        });
        let first = reports.wait_for("starting").await;
        let _ = supervisor.stop().await;
        first.wait_death().await;
        assert_failure(&waiting.await.unwrap().unwrap_err(), FailureKind::Stopped, &["was stopped"]);
        assert_eq!(supervisor.status().state, State::Stopped);
        // A use does not override the stop; a restart does.
        assert_eq!(supervisor.ready().await.unwrap_err().kind, FailureKind::Stopped);
        let again = async { reports.wait_for("starting").await.resume().await };
        tokio::join!(supervisor.restart(), again).0.unwrap();
        let _ = supervisor.stop().await;
        tree.assert_dead();
    });
}

#[test]
fn a_stop_while_idle_stays_too() {
    run(async {
        let tree = tree();
        let (supervisor, _events) = Supervisor::start(on_demand(&tree, SERVER));
        assert_eq!(supervisor.stop().await, StopOutcome::NotRunning);
        assert_eq!(supervisor.ready().await.unwrap_err().kind, FailureKind::Stopped);
        tree.assert_dead();
    });
}

#[test]
fn the_program_ends_while_the_sidecar_is_idle() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = Supervisor::start(on_demand(&tree, SERVER));
        state(&mut events, State::Idle).await;
        assert_eq!(supervisor.close().await, StopOutcome::NotRunning);
        let _lease = supervisor.lease();
        assert_eq!(supervisor.ready().await.unwrap_err().kind, FailureKind::Stopped);
        assert_eq!(supervisor.restart().await.unwrap_err().kind, FailureKind::Stopped);
        tree.assert_dead();

        // The actor ends with the last handle, even if a lease is left.
        let (supervisor, mut events) = Supervisor::start(on_demand(&tree, SERVER));
        state(&mut events, State::Idle).await;
        let lease = supervisor.lease();
        drop(supervisor);
        while events.next().await.is_some() {}
        drop(lease);
        tree.assert_dead();
    });
}

#[test]
fn the_program_ends_while_the_sidecar_is_stopped_for_lack_of_a_use() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, _events) = Supervisor::start(polite(&tree, &reports).idle_stop(SOON));
        supervisor.ready().await.unwrap();
        let mut old = reports.wait_for("bye").await;
        let waiting = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.ready().await }
        });
        let mut changes = supervisor.watch();
        while changes.next().await.unwrap().readiness != Readiness::Pending {}
        let close = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.close().await }
        });
        // The waiting use learns of it before the old process has ended.
        assert_eq!(waiting.await.unwrap().unwrap_err().kind, FailureKind::Stopped);
        old.resume().await;
        assert!(matches!(close.await.unwrap(), StopOutcome::Graceful(_)));
        tree.assert_dead();
    });
}

#[test]
fn a_crash_without_a_use_leaves_it_idle_and_the_next_use_starts_it() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen ok announce report {} up wait exit 70", reports.port());
        let spec = on_demand(&tree, &steps).restart(Restart::OnFailure).idle_stop(NEVER);
        let (supervisor, mut events) = Supervisor::start(spec);
        let first = supervisor.ready().await.unwrap();
        state(&mut events, State::Ready).await;
        reports.wait_for("up").await.resume().await;
        let idle = state(&mut events, State::Idle).await;
        assert_eq!((idle.readiness, idle.restarts), (Readiness::Idle, 1));
        let parts = ["exited with code 70 while nothing used it", "it stays down until its next use"];
        assert_failure(&idle.failure.unwrap(), FailureKind::Crashed, &parts);
        tree.assert_dead();

        let lease = supervisor.lease();
        assert_ne!(supervisor.ready().await.unwrap().pid, first.pid);
        reports.wait_for("up").await.resume().await;
        // This time it was in use.
        assert_eq!(state(&mut events, State::BackingOff).await.restarts, 2);
        supervisor.ready().await.unwrap();
        drop(lease);
        let _ = supervisor.kill().await;
    });
}

#[test]
fn a_dependent_uses_its_dependency_until_it_is_down() {
    run(async {
        let tree = tree();
        let db = tree.named("db", SERVER).on_demand(true).idle_stop(SOON);
        let api = tree.named("api", SERVER).depends_on(["db"]).on_demand(true);
        let fleet = Fleet::start([db, api]).unwrap();
        let (api, db) = (fleet.get("api").unwrap(), fleet.get("db").unwrap());
        let mut events = db.subscribe().unwrap();
        state(&mut events, State::Idle).await;
        let endpoint = api.ready().await.unwrap();
        let ready = state(&mut events, State::Ready).await;
        assert_eq!(api.ready().await.unwrap(), endpoint);
        assert_eq!(db.status().pid, ready.pid);
        let _ = api.stop().await;
        state(&mut events, State::Idle).await;
        drop(fleet.close().await);
        tree.assert_dead();
    });
}

#[test]
fn a_swap_starts_an_idle_sidecar_which_is_then_stopped_again() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = Supervisor::start(on_demand(&tree, SERVER).idle_stop(SOON));
        state(&mut events, State::Idle).await;
        let lease = supervisor.lease();
        let first = supervisor.ready().await.unwrap();
        // The use goes over to the new run.
        assert_ne!(supervisor.swap_to(tree.sidecar(SERVER)).await.unwrap().pid, first.pid);
        drop(lease);
        state(&mut events, State::Idle).await;
        let swapped = supervisor.swap().await.unwrap();
        assert!(swapped.pid.is_some());
        state(&mut events, State::Idle).await;
        let _ = supervisor.close().await;
        tree.assert_dead();
    });
}
