//! Start, readiness, output and restart.

use pillion::{FailureKind, Restart, SidecarEvent, Spec, State, StopOutcome, Supervisor};
use windows_tests::{ReportServer, run};

use crate::support::{ready, sidecar, state};

#[test]
fn a_sidecar_on_pillion_server_becomes_ready_and_stops_on_request() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = Supervisor::start(sidecar("report PORT leader pillion-server", &reports));
        let endpoint = supervisor.ready().await.unwrap();
        let leader = reports.wait_for("leader").await;
        // Its health response contains the version and the instance. The supervisor rejects another instance.
        assert_eq!(endpoint.version.as_deref(), Some("1.2.3"));
        assert_eq!(endpoint.url, Some(format!("http://127.0.0.1:{}", endpoint.port.unwrap())));
        let StopOutcome::Graceful(exit) = supervisor.stop().await else { panic!("the sidecar was killed") };
        assert!(exit.is_success());
        leader.wait_death().await;
    });
}

#[test]
fn a_restart_gives_a_new_process() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = ready(sidecar("report PORT leader pillion-server", &reports)).await;
        let (before, old) = (supervisor.status().pid, reports.wait_for("leader").await);
        let after = supervisor.restart().await.unwrap();
        old.wait_death().await;
        assert_ne!(before, after.pid);
        let new = reports.wait_for("leader").await;
        let _ = supervisor.stop().await;
        new.wait_death().await;
    });
}

#[test]
fn a_crash_is_followed_by_a_restart_and_a_swap_replaces_the_process() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "report PORT leader serve wait exit 70";
        let (supervisor, mut events) = ready(sidecar(steps, &reports).restart(Restart::OnFailure)).await;
        let (before, mut old) = (supervisor.status().pid, reports.wait_for("leader").await);
        old.resume().await;
        state(&mut events, State::BackingOff).await;
        old.wait_death().await;
        assert_ne!(supervisor.ready().await.unwrap().pid, before);
        let second = reports.wait_for("leader").await;
        // The replaced process ignores the end of its stdin: the kill ends it.
        supervisor.swap_to(sidecar("report PORT leader serve eof exit 0", &reports)).await.unwrap();
        let third = reports.wait_for("leader").await;
        assert!(matches!(supervisor.kill().await, StopOutcome::Killed(_) | StopOutcome::Graceful(_)));
        second.wait_death().await;
        third.wait_death().await;
    });
}

#[test]
fn a_failed_start_says_why() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = Supervisor::start(sidecar("out why exit 3", &reports));
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
fn output_is_read_to_its_last_line() {
    run(async {
        let reports = ReportServer::new().await;
        let (_supervisor, mut events) = Supervisor::start(sidecar("lines 50000 out \\end exit 0", &reports));
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
fn an_exit_is_noticed_while_a_grandchild_holds_the_pipes() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "child-no-stdin report PORT holder wait exit 0 ; report PORT leader wait out last exit 4";
        let (supervisor, _) = Supervisor::start(sidecar(steps, &reports));
        let mut holder = reports.wait_for("holder").await;
        reports.wait_for("leader").await.resume().await;
        let failure = supervisor.ready().await.unwrap_err();
        assert_eq!((failure.kind, failure.detail.tail), (FailureKind::ExitedEarly, vec!["last".to_owned()]));
        holder.resume().await;
        holder.wait_death().await;
    });
}
