//! A swap replaces the process without an interruption, or changes nothing.

use std::time::Duration;

use integration_tests::{ReportServer, run};
use pillion::{Events, FailureKind, Restart, SidecarEvent, State, StopOutcome, Supervisor};

use crate::support::{assert_failure, state, status, tree};

#[test]
fn the_candidate_takes_over_before_the_old_process_is_stopped() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen ok announce term report {} bye wait exit 0", reports.port());
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps).grace(Duration::MAX));
        let before = supervisor.ready().await.unwrap();
        state(&mut events, State::Ready).await;
        let after = supervisor.swap().await.unwrap();
        assert!(after.pid != before.pid && after.port != before.port);
        assert_eq!(supervisor.ready().await.unwrap(), after);
        // The old process finishes its work, and the swap does not wait for it.
        let mut old = reports.wait_for("bye").await;
        assert_eq!(tree.sidecars().len(), 2);
        old.resume().await;
        old.wait_death().await;
        // No status showed another state than ready.
        let moved = status(&mut events, |_| true).await;
        assert_eq!((moved.state, moved.pid, moved.url), (State::Ready, after.pid, after.url));
        let (stopped, ()) =
            tokio::join!(supervisor.stop(), async { reports.wait_for("bye").await.resume().await });
        assert!(matches!(stopped, StopOutcome::Graceful(_)), "{stopped:?}");
    });
}

#[test]
fn a_candidate_that_never_becomes_ready_changes_nothing() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = Supervisor::start(tree.sidecar("listen ok announce park"));
        let before = supervisor.ready().await.unwrap();
        state(&mut events, State::Ready).await;
        let dies = supervisor.swap_to(tree.sidecar("err why\\n exit 3")).await.unwrap_err();
        assert_failure(&dies, FailureKind::ExitedEarly, &["sidecar exited with code 3"]);
        assert_eq!(dies.detail.tail, ["why"]);
        let silent = tree.sidecar("park").ready_timeout(Duration::from_millis(200));
        let silent = supervisor.swap_to(silent).await.unwrap_err();
        assert_failure(&silent, FailureKind::ReadyTimeout, &["announced no port within 200 ms"]);
        assert_eq!(supervisor.ready().await.unwrap(), before);
        let _ = supervisor.kill().await;
        // The next status is that of the kill.
        let next = status(&mut events, |_| true).await;
        assert_eq!((next.state, next.pid), (State::Stopping, before.pid));
    });
}

#[test]
fn a_stop_ends_the_sidecar_and_the_candidate() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, _) = Supervisor::start(tree.sidecar("listen ok announce term exit 0"));
        supervisor.ready().await.unwrap();
        let spec = tree.sidecar(&format!("report {} candidate park", reports.port()));
        let (swapped, stopped) = tokio::join!(supervisor.swap_to(spec), async {
            reports.wait_for("candidate").await;
            supervisor.stop().await
        });
        assert_failure(&swapped.unwrap_err(), FailureKind::Stopped, &["cancelled: a stop was requested"]);
        assert!(matches!(stopped, StopOutcome::Graceful(_)), "{stopped:?}");
        tree.assert_dead();
    });
}

#[test]
fn a_kill_does_not_wait_for_the_replaced_process() {
    run(async {
        let tree = tree();
        let (supervisor, _) =
            Supervisor::start(tree.sidecar("ignore-term listen ok announce park").grace(Duration::MAX));
        supervisor.ready().await.unwrap();
        supervisor.swap().await.unwrap();
        assert_eq!(tree.sidecars().len(), 2);
        assert!(matches!(supervisor.kill().await, StopOutcome::Killed(_)));
        tree.assert_dead();
    });
}

#[test]
fn a_swapped_in_process_is_restarted_by_its_own_policy() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, mut events) = Supervisor::start(tree.sidecar("listen ok announce term exit 0"));
        supervisor.ready().await.unwrap();
        let mortal = format!("listen ok announce report {} up wait exit 70", reports.port());
        supervisor.swap_to(tree.sidecar(&mortal).restart(Restart::OnFailure)).await.unwrap();
        reports.wait_for("up").await.resume().await;
        state(&mut events, State::BackingOff).await;
        supervisor.ready().await.unwrap();
        reports.wait_for("up").await;
        let _ = supervisor.stop().await;
    });
}

#[test]
fn dropping_every_handle_ends_the_sidecar_and_the_candidate() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, mut events) = Supervisor::start(tree.sidecar("listen ok announce term exit 0"));
        supervisor.ready().await.unwrap();
        let spec = tree.sidecar(&format!("report {} candidate park", reports.port()));
        let swapping = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.swap_to(spec).await }
        });
        reports.wait_for("candidate").await;
        drop(supervisor);
        swapping.abort();
        wait_for_end_of_events(&mut events).await;
        tree.assert_dead();
    });
}

async fn wait_for_end_of_events(events: &mut Events) {
    while let Some(event) = events.next().await {
        if let SidecarEvent::Status(status) = event {
            assert!(status.failure.is_none(), "{status:?}");
        }
    }
}
