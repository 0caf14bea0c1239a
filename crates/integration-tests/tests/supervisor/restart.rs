//! A crashed sidecar is restarted, within limits, and never against a requested stop.

use std::time::Duration;

use integration_tests::{ReportServer, run};
use pillion::{Events, FailureKind, Restart, RestartLimit, Spec, State, StopOutcome, Supervisor};

use crate::support::{assert_failure, state, status, tree};

/// A sidecar that reports `up`, and exits with `code` when the test answers.
fn crashing(tree: &integration_tests::ProcessTree, reports: &ReportServer, code: u8) -> Spec {
    let steps = format!("listen ok announce report {} up wait exit {code}", reports.port());
    tree.sidecar(&steps).restart(Restart::OnFailure)
}

/// Lets it crash once it is ready. An earlier exit would be a failed start.
async fn crash(events: &mut Events, reports: &ReportServer) {
    state(events, State::Ready).await;
    reports.wait_for("up").await.resume().await;
}

#[test]
fn a_crash_is_reported_and_followed_by_a_restart() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, mut events) = Supervisor::start(crashing(&tree, &reports, 70));
        let before = supervisor.ready().await.unwrap();
        reports.wait_for("up").await.resume().await;
        let down = state(&mut events, State::BackingOff).await;
        assert_failure(
            &down.failure.unwrap(),
            FailureKind::Crashed,
            &["exited with code 70 while it was in use"],
        );
        assert_eq!((down.url, down.restarts), (None, 1));
        // A caller of `ready` waits for the next run.
        let after = supervisor.ready().await.unwrap();
        assert_ne!(before.pid, after.pid);
        let ready = state(&mut events, State::Ready).await;
        assert_eq!((ready.pid, ready.failure, ready.restarts), (after.pid, None, 1));
        let _ = supervisor.stop().await;
    });
}

#[test]
fn repeated_crashes_reach_the_restart_limit() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let restart_limit = RestartLimit::new(2, Duration::from_secs(600));
        let (supervisor, mut events) =
            Supervisor::start(crashing(&tree, &reports, 70).restart_limit(restart_limit));
        for _ in 0..3 {
            crash(&mut events, &reports).await;
        }
        let failed = state(&mut events, State::Failed).await.failure.unwrap();
        assert_failure(
            &failed,
            FailureKind::Crashed,
            &["exited with code 70", "given up after 2 restarts within 600 s"],
        );
        assert_failure(&supervisor.ready().await.unwrap_err(), FailureKind::Crashed, &["given up"]);
        // A requested restart resets the count.
        supervisor.restart().await.unwrap();
        reports.wait_for("up").await.resume().await;
        assert_eq!(state(&mut events, State::BackingOff).await.restarts, 1);
    });
}

#[test]
fn a_stop_ends_the_backoff() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, mut events) = Supervisor::start(crashing(&tree, &reports, 70));
        for restarts in 1..=2 {
            crash(&mut events, &reports).await;
            status(&mut events, |status| status.state == State::BackingOff && status.restarts == restarts)
                .await;
        }
        assert_eq!(supervisor.stop().await, StopOutcome::NotRunning);
        assert_eq!(supervisor.status().state, State::Stopped);
        assert_failure(
            &supervisor.ready().await.unwrap_err(),
            FailureKind::Stopped,
            &["sidecar was stopped"],
        );
        tree.assert_dead();
    });
}

#[test]
fn a_requested_stop_is_no_crash_whatever_the_exit_code() {
    run(async {
        let tree = tree();
        let spec = tree.sidecar("listen ok announce term exit 70").restart(Restart::Always);
        let (supervisor, _) = Supervisor::start(spec);
        supervisor.ready().await.unwrap();
        assert!(matches!(supervisor.stop().await, StopOutcome::Graceful(exit) if exit.code == Some(70)));
        assert_eq!(supervisor.status().state, State::Stopped);
        tree.assert_dead();
    });
}

#[test]
fn an_exit_with_0_is_followed_by_a_restart_only_if_requested() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, mut events) = Supervisor::start(crashing(&tree, &reports, 0));
        supervisor.ready().await.unwrap();
        reports.wait_for("up").await.resume().await;
        state(&mut events, State::Stopped).await;

        let (supervisor, _) = Supervisor::start(crashing(&tree, &reports, 0).restart(Restart::Always));
        let before = supervisor.ready().await.unwrap();
        reports.wait_for("up").await.resume().await;
        let again = reports.wait_for("up").await;
        assert_ne!(supervisor.ready().await.unwrap().pid, before.pid);
        drop(again);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_failed_first_start_is_not_repeated() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) =
            Supervisor::start(tree.sidecar("err why\\n exit 3").restart(Restart::Always));
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::ExitedEarly, &["exited with code 3"]);
        assert_eq!(state(&mut events, State::Failed).await.restarts, 0);
    });
}

#[test]
fn thirty_crashes_leave_no_process_behind() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        // With a window of zero each restart is immediate, and no earlier one counts.
        let restart_limit = RestartLimit::new(1, Duration::ZERO);
        let (supervisor, mut events) =
            Supervisor::start(crashing(&tree, &reports, 70).restart_limit(restart_limit));
        for _ in 0..30 {
            crash(&mut events, &reports).await;
        }
        let _last = reports.wait_for("up").await;
        state(&mut events, State::Ready).await;
        assert_eq!(tree.sidecars().len(), 1);
        let _ = supervisor.stop().await;
    });
}
