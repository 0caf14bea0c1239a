//! Stop: asked by the end of stdin, given its grace period, then killed with everything that came of it.

use std::time::Duration;

use pillion::{Exit, State, StopOutcome, Supervisor};
use windows_tests::{Witness, run};

use crate::support::{KILLED, SHORT, phase, ready, sidecar, status};

fn exited(code: i32) -> Exit {
    Exit { code: Some(code), signal: None }
}

#[test]
fn a_cooperative_sidecar_ends_by_itself() {
    run(async {
        for code in [0, 7] {
            let witness = Witness::new().await;
            let steps = format!("tell PORT leader serve eof more goodbye exit {code}");
            let (supervisor, mut events) = ready(sidecar(&steps, &witness)).await;
            let mut leader = witness.hear("leader").await;
            assert_eq!(supervisor.stop().await, StopOutcome::Graceful(exited(code)));
            assert_eq!(leader.line().await, "goodbye");
            leader.dies().await;
            assert_eq!(phase(&mut events, State::Stopped).await.exit, Some(exited(code)));
            assert_eq!(supervisor.stop().await, StopOutcome::NotRunning);
        }
    });
}

#[test]
fn who_hears_nothing_is_killed_after_the_grace_period() {
    run(async {
        let witness = Witness::new().await;
        let (supervisor, _) = ready(sidecar("tell PORT leader serve park", &witness).grace(SHORT)).await;
        let leader = witness.hear("leader").await;
        assert_eq!(supervisor.stop().await, StopOutcome::Killed(KILLED));
        leader.dies().await;
    });
}

#[test]
fn a_deaf_grandchild_is_killed_and_the_outcome_says_so() {
    run(async {
        for how in ["deaf", "detached"] {
            let witness = Witness::new().await;
            let steps = format!("{how} tell PORT grandchild park ; serve eof exit 0");
            let (supervisor, _) = ready(sidecar(&steps, &witness).grace(SHORT)).await;
            let grandchild = witness.hear("grandchild").await;
            assert_eq!(supervisor.stop().await, StopOutcome::GroupKilled(exited(0)), "{how}");
            grandchild.dies().await;
        }
    });
}

#[test]
fn the_real_server_behind_a_wrapper_gets_its_time() {
    run(async {
        let witness = Witness::new().await;
        let steps = "child serve eof tell PORT stopping hear more finished exit 0 ; eof exit 5";
        let (supervisor, mut events) = ready(sidecar(steps, &witness)).await;
        let stop = tokio::spawn(async move { supervisor.stop().await });
        let mut server = witness.hear("stopping").await;
        // The wrapper is seen dead while its server is still at work.
        let seen = status(&mut events, |status| status.exit.is_some()).await;
        assert_eq!((seen.state, seen.exit), (State::Stopping, Some(exited(5))));
        assert!(!stop.is_finished());
        server.go_on().await;
        assert_eq!(stop.await.unwrap(), StopOutcome::Graceful(exited(5)));
        assert_eq!(server.line().await, "finished");
        server.dies().await;
    });
}

#[test]
fn members_that_come_and_go_are_all_waited_for() {
    run(async {
        let witness = Witness::new().await;
        // Each one starts the next before it ends.
        let steps = "child serve eof child tell PORT first hear \
                     child tell PORT second hear exit 0 ; exit 0 ; exit 0 ; eof exit 0";
        let (supervisor, _) = ready(sidecar(steps, &witness)).await;
        let stop = tokio::spawn(async move { supervisor.stop().await });
        for name in ["first", "second"] {
            let mut member = witness.hear(name).await;
            assert!(!stop.is_finished());
            member.go_on().await;
            member.dies().await;
        }
        assert_eq!(stop.await.unwrap(), StopOutcome::Graceful(exited(0)));
    });
}

#[test]
fn a_crash_is_told_at_once_and_the_rest_is_swept() {
    run(async {
        let witness = Witness::new().await;
        let steps = "deaf tell PORT rest park ; tell PORT leader serve hear exit 70";
        let (supervisor, mut events) = ready(sidecar(steps, &witness).grace(SHORT)).await;
        let rest = witness.hear("rest").await;
        witness.hear("leader").await.go_on().await;
        let failed = phase(&mut events, State::Failed).await;
        assert_eq!(failed.exit, Some(exited(70)));
        assert!(supervisor.ready().await.unwrap_err().message.contains("exited with code 70"));
        rest.dies().await;
    });
}

#[test]
fn force_cuts_the_grace_period_short() {
    run(async {
        let witness = Witness::new().await;
        let steps = "deaf tell PORT grandchild park ; serve eof tell PORT stopping park";
        let (supervisor, _) = ready(sidecar(steps, &witness)).await;
        let stop = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.stop().await }
        });
        let (leader, grandchild) = (witness.hear("stopping").await, witness.hear("grandchild").await);
        assert_eq!(supervisor.kill().await, StopOutcome::Killed(KILLED));
        assert_eq!(stop.await.unwrap(), StopOutcome::Killed(KILLED));
        leader.dies().await;
        grandchild.dies().await;
    });
}

#[test]
fn the_last_handle_dropped_stops_the_sidecar_with_grace() {
    run(async {
        let witness = Witness::new().await;
        let (supervisor, mut events) =
            ready(sidecar("tell PORT leader serve eof more goodbye exit 0", &witness)).await;
        let mut leader = witness.hear("leader").await;
        drop(supervisor);
        assert_eq!(phase(&mut events, State::Stopped).await.exit, Some(exited(0)));
        assert_eq!(leader.line().await, "goodbye");
        leader.dies().await;
    });
}

#[test]
fn a_runtime_that_shuts_down_leaves_nothing() {
    run(async {
        let witness = Witness::new().await;
        let spec = sidecar("deaf tell PORT grandchild park ; tell PORT leader serve park", &witness);
        let own = std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let (supervisor, _) = runtime.block_on(ready(spec));
            (runtime, supervisor)
        });
        let (leader, grandchild) = (witness.hear("leader").await, witness.hear("grandchild").await);
        std::thread::spawn(move || drop(own.join().unwrap())).join().unwrap();
        leader.dies().await;
        grandchild.dies().await;
    });
}

#[test]
fn nobody_breaks_away_from_the_job() {
    run(async {
        let witness = Witness::new().await;
        let (supervisor, mut events) = Supervisor::start(sidecar("escape", &witness).grace(Duration::ZERO));
        assert_eq!(phase(&mut events, State::Failed).await.exit, Some(exited(0)), "it was refused");
        drop(supervisor);
    });
}
