//! What crashes comes back by itself, but not for ever, and never against a requested stop.

use std::time::Duration;

use integration_tests::{ReportServer, run};
use pillion::{Events, FailureKind, Restart, RestartLimit, Spec, State, StopOutcome, Supervisor};

use crate::support::{assert_failure, phase, status, tree};

/// A sidecar that tells the test that it is up, and exits with `code` when it answers.
fn mortal(tree: &integration_tests::ProcessTree, reports: &ReportServer, code: u8) -> Spec {
    let steps = format!("listen ok announce report {} up wait exit {code}", reports.port());
    tree.sidecar(&steps).restart(Restart::OnFailure)
}

/// Lets it crash, once it is ready: a start that fails is another story.
async fn crash(events: &mut Events, reports: &ReportServer) {
    phase(events, State::Ready).await;
    reports.wait_for("up").await.resume().await;
}

#[test]
fn a_crash_is_told_and_mended() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, mut events) = Supervisor::start(mortal(&tree, &reports, 70));
        let before = supervisor.ready().await.unwrap();
        reports.wait_for("up").await.resume().await;
        let down = phase(&mut events, State::BackingOff).await;
        assert_failure(
            &down.failure.unwrap(),
            FailureKind::Crashed,
            &["exited with code 70 while it was in use"],
        );
        assert_eq!((down.url, down.restarts), (None, 1));
        // Whoever asks meanwhile waits for the next one.
        let after = supervisor.ready().await.unwrap();
        assert_ne!(before.pid, after.pid);
        let ready = phase(&mut events, State::Ready).await;
        assert_eq!((ready.pid, ready.failure, ready.restarts), (after.pid, None, 1));
        let _ = supervisor.stop().await;
    });
}

#[test]
fn what_crashes_again_and_again_is_given_up() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let restart_limit = RestartLimit::new(2, Duration::from_secs(600));
        let (supervisor, mut events) =
            Supervisor::start(mortal(&tree, &reports, 70).restart_limit(restart_limit));
        for _ in 0..3 {
            crash(&mut events, &reports).await;
        }
        let failed = phase(&mut events, State::Failed).await.failure.unwrap();
        assert_failure(
            &failed,
            FailureKind::Crashed,
            &["exited with code 70", "given up after 2 restarts within 600 s"],
        );
        assert_failure(&supervisor.ready().await.unwrap_err(), FailureKind::Crashed, &["given up"]);
        // Somebody who asks gets a whole allowance.
        supervisor.restart().await.unwrap();
        reports.wait_for("up").await.resume().await;
        assert_eq!(phase(&mut events, State::BackingOff).await.restarts, 1);
    });
}

#[test]
fn a_stop_wins_over_a_pause() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, mut events) = Supervisor::start(mortal(&tree, &reports, 70));
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
fn a_clean_end_is_mended_only_where_it_is_asked_for() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, mut events) = Supervisor::start(mortal(&tree, &reports, 0));
        supervisor.ready().await.unwrap();
        reports.wait_for("up").await.resume().await;
        phase(&mut events, State::Stopped).await;

        let (supervisor, _) = Supervisor::start(mortal(&tree, &reports, 0).restart(Restart::Always));
        let before = supervisor.ready().await.unwrap();
        reports.wait_for("up").await.resume().await;
        let again = reports.wait_for("up").await;
        assert_ne!(supervisor.ready().await.unwrap().pid, before.pid);
        drop(again);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_first_start_that_fails_is_reported_and_not_repeated() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) =
            Supervisor::start(tree.sidecar("err why\\n exit 3").restart(Restart::Always));
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::ExitedEarly, &["exited with code 3"]);
        assert_eq!(phase(&mut events, State::Failed).await.restarts, 0);
    });
}

#[test]
fn thirty_crashes_leave_nothing_behind() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        // Sustained health of no length at all: each restart is immediate, and none counts.
        let restart_limit = RestartLimit::new(1, Duration::ZERO);
        let (supervisor, mut events) =
            Supervisor::start(mortal(&tree, &reports, 70).restart_limit(restart_limit));
        for _ in 0..30 {
            crash(&mut events, &reports).await;
        }
        let _last = reports.wait_for("up").await;
        phase(&mut events, State::Ready).await;
        assert_eq!(tree.sidecars().len(), 1);
        let _ = supervisor.stop().await;
    });
}
