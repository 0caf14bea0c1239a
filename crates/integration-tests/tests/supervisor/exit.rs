//! An end is noticed from the process, not from its pipes, and leaves nothing of its group behind.

use std::time::Duration;

use integration_tests::{ReportServer, run};
use pillion::{Exit, FailureKind, State, StopOutcome, Supervisor};
use rustix::process::Signal;

use crate::support::{assert_failure, phase, status, tree};

#[test]
fn a_grandchild_that_holds_the_pipes_hides_no_crash() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        // A group of its own, so that nothing of what is swept with the leader closes its ends of the pipes.
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
        assert_eq!(tree.sidecars().len(), 1, "the holder is alive, and still holds the pipes");
        holder.resume().await;
        holder.wait_death().await;
        phase(&mut events, State::Failed).await;
    });
}

#[test]
fn a_start_that_dies_behind_held_pipes_fails_at_once() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        // The leader waits until the holder is deaf: asked any earlier, the holder would just die.
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
fn a_crash_is_told_at_once_and_the_rest_of_the_group_is_swept() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        // The child tells that it is there, because a SIGTERM that came before it can wait it would just kill it.
        let steps = format!(
            "fork report {port} there term report {port} asked wait ; listen ok announce report {port} up wait exit 70"
        );
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps).grace(Duration::MAX));
        let (one, two) = (reports.next().await, reports.next().await);
        let mut leader = if one.text == "up" { one } else { two };
        supervisor.ready().await.unwrap();
        leader.resume().await;
        // The one that is left was asked, takes its time, and hides nothing meanwhile.
        let mut left = reports.wait_for("asked").await;
        let stopping = status(&mut events, |status| status.exit.is_some()).await;
        assert_eq!((stopping.state, stopping.exit.unwrap().code), (State::Stopping, Some(70)));
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::Crashed, &["exited with code 70 while it was in use"]);
        left.resume().await;
        left.wait_death().await;
        let down = phase(&mut events, State::Failed).await;
        assert_eq!((down.failure.unwrap(), down.exit.unwrap().code), (failure, Some(70)));
        tree.assert_dead();
    });
}

#[test]
fn a_deaf_rest_of_a_crashed_group_is_killed() {
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
        // Whichever of them is the leader hears it; the other one parks, and reads nothing.
        one.resume().await;
        two.resume().await;
        let down = phase(&mut events, State::Failed).await;
        assert_eq!(down.exit, Some(Exit::with_signal(11)));
        tree.assert_dead();
    });
}

#[test]
fn a_sidecar_that_finishes_by_itself_is_no_failure() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen ok announce report {} up wait exit 0", reports.port());
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps));
        supervisor.ready().await.unwrap();
        reports.wait_for("up").await.resume().await;
        let down = phase(&mut events, State::Stopped).await;
        assert_eq!((down.failure, down.exit.unwrap().code), (None, Some(0)));
        assert_eq!(down.reason.unwrap(), "exited with code 0 by itself");
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::Stopped, &["sidecar finished by itself"]);
        assert_eq!(supervisor.stop().await, StopOutcome::NotRunning);
    });
}

#[test]
fn a_sidecar_that_closes_its_streams_is_not_dead() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps =
            format!("ignore-term listen ok announce close report {} closed eof exit 0", reports.port());
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps).grace(Duration::MAX));
        reports.wait_for("closed").await;
        supervisor.ready().await.unwrap();
        let StopOutcome::Graceful(exit) = supervisor.stop().await else {
            panic!("it had no reason to be killed")
        };
        assert_eq!((exit.code, phase(&mut events, State::Stopped).await.exit), (Some(0), Some(exit)));
    });
}
