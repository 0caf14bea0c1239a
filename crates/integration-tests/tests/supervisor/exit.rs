//! The supervisor notices an exit by the process, not by its pipes, and leaves no process of its group behind.

use std::time::Duration;

use integration_tests::{ReportServer, run};
use pillion::{Exit, FailureKind, State, StopOutcome, Supervisor};
use rustix::process::Signal;

use crate::support::{assert_failure, state, status, tree};

#[test]
fn a_crash_is_noticed_while_a_grandchild_holds_the_pipes() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        // In its own group, so that the clean-up of the leader's group does not close its ends of the pipes.
        let steps = format!(
            "new-group ignore-term report {} up wait ; listen ok announce err last\\swords\\n park",
            reports.port()
        );
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps).grace(Duration::MAX));
        let pid = supervisor.ready().await.unwrap().pid.unwrap();
        let mut holder = reports.wait_for("up").await;
        crate::support::line(&mut events, "last words").await;
        tree.alive().iter().find(|process| process.pid == pid).unwrap().signal(Signal::KILL).unwrap();
        let failure = status(&mut events, |status| status.failure.is_some()).await.failure.unwrap();
        assert_failure(
            &failure,
            FailureKind::Crashed,
            &["sidecar was killed by SIGKILL while it was in use"],
        );
        assert!(failure.detail.tail.contains(&"last words".to_owned()), "{failure:?}");
        assert_eq!(tree.sidecars().len(), 1, "the grandchild is alive and holds the pipes");
        holder.resume().await;
        holder.wait_death().await;
        state(&mut events, State::Failed).await;
    });
}

#[test]
fn an_early_exit_is_noticed_while_a_grandchild_holds_the_pipes() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        // The leader waits until the holder ignores SIGTERM. An earlier SIGTERM would kill the holder.
        let steps = format!(
            "new-group ignore-term report {port} up wait ; report {port} leader wait err why\\n exit 4"
        );
        let spec = tree.sidecar(&steps).ready_timeout(Duration::MAX).grace(Duration::MAX);
        let (supervisor, _) = Supervisor::start(spec);
        let (one, two) = (reports.next().await, reports.next().await);
        let (mut leader, mut holder) = if one.text == "leader" { (one, two) } else { (two, one) };
        leader.resume().await;
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::ExitedEarly, &["exited with code 4"]);
        assert_eq!(failure.detail.tail, ["why"]);
        holder.resume().await;
        holder.wait_death().await;
    });
}

#[test]
fn a_crash_is_reported_at_once_and_the_rest_of_the_group_is_stopped() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        // The child reports first, because a SIGTERM before its handler is installed would kill it.
        let steps = format!(
            "fork report {port} there term report {port} asked wait ; listen ok announce report {port} up wait exit 70"
        );
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps).grace(Duration::MAX));
        let (one, two) = (reports.next().await, reports.next().await);
        let mut leader = if one.text == "up" { one } else { two };
        supervisor.ready().await.unwrap();
        leader.resume().await;
        // The child has received SIGTERM and is still at work. The status reports the crash meanwhile.
        let mut left = reports.wait_for("asked").await;
        let stopping = status(&mut events, |status| status.exit.is_some()).await;
        assert_eq!((stopping.state, stopping.exit.unwrap().code), (State::Stopping, Some(70)));
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::Crashed, &["exited with code 70 while it was in use"]);
        left.resume().await;
        left.wait_death().await;
        let down = state(&mut events, State::Failed).await;
        assert_eq!((down.failure.unwrap(), down.exit.unwrap().code), (failure, Some(70)));
        tree.assert_dead();
    });
}

#[test]
fn the_rest_of_a_crashed_group_is_killed_if_it_ignores_sigterm() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        let steps = format!(
            "fork ignore-term report {port} up park ; listen ok announce report {port} up wait raise 11"
        );
        let spec = tree.sidecar(&steps).grace(Duration::from_millis(200));
        let (supervisor, mut events) = Supervisor::start(spec);
        supervisor.ready().await.unwrap();
        let (mut one, mut two) = (reports.wait_for("up").await, reports.wait_for("up").await);
        // One of the two is the leader. The other one is parked and reads nothing.
        one.resume().await;
        two.resume().await;
        let down = state(&mut events, State::Failed).await;
        assert_eq!(down.exit, Some(Exit::with_signal(11)));
        tree.assert_dead();
    });
}

#[test]
fn an_exit_with_0_is_not_a_failure() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen ok announce report {} up wait exit 0", reports.port());
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps));
        supervisor.ready().await.unwrap();
        reports.wait_for("up").await.resume().await;
        let down = state(&mut events, State::Stopped).await;
        assert_eq!((down.failure, down.exit.unwrap().code), (None, Some(0)));
        assert_eq!(down.reason.unwrap(), "exited with code 0 by itself");
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::Stopped, &["sidecar finished by itself"]);
        assert_eq!(supervisor.stop().await, StopOutcome::NotRunning);
    });
}

#[test]
fn closed_streams_are_not_taken_for_an_exit() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps =
            format!("ignore-term listen ok announce close report {} closed eof exit 0", reports.port());
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps).grace(Duration::MAX));
        reports.wait_for("closed").await;
        supervisor.ready().await.unwrap();
        let StopOutcome::Graceful(exit) = supervisor.stop().await else { panic!("the sidecar was killed") };
        assert_eq!((exit.code, state(&mut events, State::Stopped).await.exit), (Some(0), Some(exit)));
    });
}
