//! Start, readiness, output and restart.

use pillion::{FailureKind, Restart, SidecarEvent, Spec, State, StopOutcome, Supervisor};
use windows_tests::{Witness, run};

use crate::support::{phase, ready, sidecar};

#[test]
fn a_sidecar_on_pillion_server_becomes_ready_and_stops_when_asked() {
    run(async {
        let witness = Witness::new().await;
        let (supervisor, _) = Supervisor::start(sidecar("tell PORT leader pillion-server", &witness));
        let endpoint = supervisor.ready().await.unwrap();
        let leader = witness.hear("leader").await;
        // Its health names version and nonce, and another nonce would not have been accepted.
        assert_eq!(endpoint.version.as_deref(), Some("1.2.3"));
        assert_eq!(endpoint.url, format!("http://127.0.0.1:{}", endpoint.port.unwrap()));
        let StopOutcome::Graceful(exit) = supervisor.stop().await else { panic!("it was asked") };
        assert!(exit.is_success());
        leader.dies().await;
    });
}

#[test]
fn a_restart_gives_a_new_process() {
    run(async {
        let witness = Witness::new().await;
        let (supervisor, _) = ready(sidecar("tell PORT leader pillion-server", &witness)).await;
        let (before, old) = (supervisor.status().pid, witness.hear("leader").await);
        let after = supervisor.restart().await.unwrap();
        old.dies().await;
        assert_ne!(before, after.pid);
        let new = witness.hear("leader").await;
        let _ = supervisor.stop().await;
        new.dies().await;
    });
}

#[test]
fn what_crashes_comes_back_and_a_swap_leaves_no_gap() {
    run(async {
        let witness = Witness::new().await;
        let steps = "tell PORT leader serve hear exit 70";
        let (supervisor, mut events) = ready(sidecar(steps, &witness).restart(Restart::OnFailure)).await;
        let (before, mut old) = (supervisor.status().pid, witness.hear("leader").await);
        old.go_on().await;
        phase(&mut events, State::BackingOff).await;
        old.dies().await;
        assert_ne!(supervisor.ready().await.unwrap().pid, before);
        let second = witness.hear("leader").await;
        // The one that is replaced hears the end of its stdin, and does not listen: force ends it.
        supervisor.swap_to(sidecar("tell PORT leader serve eof exit 0", &witness)).await.unwrap();
        let third = witness.hear("leader").await;
        assert!(matches!(supervisor.kill().await, StopOutcome::Killed(_) | StopOutcome::Graceful(_)));
        second.dies().await;
        third.dies().await;
    });
}

#[test]
fn a_start_that_fails_says_why() {
    run(async {
        let witness = Witness::new().await;
        let (supervisor, _) = Supervisor::start(sidecar("out why exit 3", &witness));
        let failure = supervisor.ready().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ExitedEarly);
        assert!(failure.message.contains("exited with code 3"), "{}", failure.message);
        assert_eq!(failure.detail.tail, ["why"]);

        let (supervisor, _) = Supervisor::start(Spec::run("sidecar", r"C:\nowhere\sidecar.exe"));
        let failure = supervisor.ready().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Spawn);
        assert!(failure.message.contains("no such file"), "{}", failure.message);
    });
}

#[test]
fn a_flood_is_drained_to_its_last_line() {
    run(async {
        let witness = Witness::new().await;
        let (_supervisor, mut events) = Supervisor::start(sidecar("lines 50000 out \\end exit 0", &witness));
        let (mut last, mut count) = (String::new(), 0);
        loop {
            match events.next().await.unwrap() {
                SidecarEvent::Output(batch) => {
                    count += batch.len();
                    last = batch.lines().last().map_or(last, |line| line.text());
                }
                SidecarEvent::Status(status) if status.state == State::Failed => break,
                SidecarEvent::Missed(_) => count = 50_001,
                _ => {}
            }
        }
        assert_eq!((last.as_str(), count >= 50_001), ("\\end", true));
    });
}

#[test]
fn a_grandchild_that_holds_the_pipes_hides_no_end() {
    run(async {
        let witness = Witness::new().await;
        let steps = "deaf tell PORT holder hear exit 0 ; tell PORT leader hear out last exit 4";
        let (supervisor, _) = Supervisor::start(sidecar(steps, &witness));
        let mut holder = witness.hear("holder").await;
        witness.hear("leader").await.go_on().await;
        let failure = supervisor.ready().await.unwrap_err();
        assert_eq!((failure.kind, failure.detail.tail), (FailureKind::ExitedEarly, vec!["last".to_owned()]));
        holder.go_on().await;
        holder.dies().await;
    });
}
