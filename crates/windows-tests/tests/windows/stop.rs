//! A stop ends stdin, waits for the grace period, and kills the sidecar with all its descendants.

use std::time::Duration;

use pillion::{Exit, State, StopOutcome, Supervisor};
use windows_tests::{ReportServer, run};

use crate::support::{KILLED, PARTIAL, SHORT, ready, sidecar, state, status};

fn exited(code: i32) -> Exit {
    Exit::with_code(code)
}

#[test]
fn a_cooperative_sidecar_ends_on_request() {
    run(async {
        for code in [0, 7] {
            let reports = ReportServer::new().await;
            let steps = format!("report PORT leader serve eof more goodbye exit {code}");
            let (supervisor, mut events) = ready(sidecar(&steps, &reports)).await;
            let mut leader = reports.wait_for("leader").await;
            assert_eq!(supervisor.stop().await, StopOutcome::Graceful(exited(code)));
            assert_eq!(leader.line().await, "goodbye");
            leader.wait_death().await;
            assert_eq!(state(&mut events, State::Stopped).await.exit, Some(exited(code)));
            assert_eq!(supervisor.stop().await, StopOutcome::NotRunning);
        }
    });
}

#[test]
fn a_sidecar_that_ignores_the_stop_is_killed_after_the_grace_period() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = ready(sidecar("report PORT leader serve park", &reports).grace(SHORT)).await;
        let leader = reports.wait_for("leader").await;
        assert_eq!(supervisor.stop().await, StopOutcome::Killed(KILLED));
        leader.wait_death().await;
    });
}

#[test]
fn a_grandchild_that_ignores_the_stop_is_killed_and_the_outcome_says_so() {
    run(async {
        for how in ["child-no-stdin", "detached"] {
            let reports = ReportServer::new().await;
            let steps = format!("{how} report PORT grandchild park ; serve eof exit 0");
            let (supervisor, _) = ready(sidecar(&steps, &reports).grace(PARTIAL)).await;
            let grandchild = reports.wait_for("grandchild").await;
            assert_eq!(supervisor.stop().await, StopOutcome::GroupKilled(exited(0)), "{how}");
            grandchild.wait_death().await;
        }
    });
}

#[test]
fn the_server_behind_a_wrapper_gets_the_whole_grace_period() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "child serve eof report PORT stopping wait more finished exit 0 ; eof exit 5";
        let (supervisor, mut events) = ready(sidecar(steps, &reports)).await;
        let stop = tokio::spawn(async move { supervisor.stop().await });
        let mut server = reports.wait_for("stopping").await;
        // The status shows the exit of the wrapper while its server is still at work.
        let seen = status(&mut events, |status| status.exit.is_some()).await;
        assert_eq!((seen.state, seen.exit), (State::Stopping, Some(exited(5))));
        assert!(!stop.is_finished());
        server.resume().await;
        assert_eq!(stop.await.unwrap(), StopOutcome::Graceful(exited(5)));
        assert_eq!(server.line().await, "finished");
        server.wait_death().await;
    });
}

#[test]
fn a_stop_waits_for_processes_that_start_during_it() {
    run(async {
        let reports = ReportServer::new().await;
        // Each process starts the next one before it ends.
        let steps = "child serve eof child report PORT first wait \
                     child report PORT second wait exit 0 ; exit 0 ; exit 0 ; eof exit 0";
        let (supervisor, _) = ready(sidecar(steps, &reports)).await;
        let stop = tokio::spawn(async move { supervisor.stop().await });
        for name in ["first", "second"] {
            let mut member = reports.wait_for(name).await;
            assert!(!stop.is_finished());
            member.resume().await;
            member.wait_death().await;
        }
        assert_eq!(stop.await.unwrap(), StopOutcome::Graceful(exited(0)));
    });
}

#[test]
fn a_crash_is_reported_at_once_and_the_rest_is_killed() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "child-no-stdin report PORT rest park ; report PORT leader serve wait exit 70";
        let (supervisor, mut events) = ready(sidecar(steps, &reports).grace(SHORT)).await;
        let rest = reports.wait_for("rest").await;
        reports.wait_for("leader").await.resume().await;
        let failed = state(&mut events, State::Failed).await;
        assert_eq!(failed.exit, Some(exited(70)));
        assert!(supervisor.ready().await.unwrap_err().message.contains("exited with code 70"));
        rest.wait_death().await;
    });
}

#[test]
fn a_kill_ends_the_grace_period() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "child-no-stdin report PORT grandchild park ; serve eof report PORT stopping park";
        let (supervisor, _) = ready(sidecar(steps, &reports)).await;
        let stop = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.stop().await }
        });
        let (leader, grandchild) = (reports.wait_for("stopping").await, reports.wait_for("grandchild").await);
        assert_eq!(supervisor.kill().await, StopOutcome::Killed(KILLED));
        assert_eq!(stop.await.unwrap(), StopOutcome::Killed(KILLED));
        leader.wait_death().await;
        grandchild.wait_death().await;
    });
}

#[test]
fn the_last_handle_dropped_stops_the_sidecar_with_grace() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, mut events) =
            ready(sidecar("report PORT leader serve eof more goodbye exit 0", &reports)).await;
        let mut leader = reports.wait_for("leader").await;
        drop(supervisor);
        assert_eq!(state(&mut events, State::Stopped).await.exit, Some(exited(0)));
        assert_eq!(leader.line().await, "goodbye");
        leader.wait_death().await;
    });
}

#[test]
fn a_runtime_that_shuts_down_leaves_no_process() {
    run(async {
        let reports = ReportServer::new().await;
        let spec =
            sidecar("child-no-stdin report PORT grandchild park ; report PORT leader serve park", &reports);
        let own = std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let (supervisor, _) = runtime.block_on(ready(spec));
            (runtime, supervisor)
        });
        let (leader, grandchild) = (reports.wait_for("leader").await, reports.wait_for("grandchild").await);
        std::thread::spawn(move || drop(own.join().unwrap())).join().unwrap();
        leader.wait_death().await;
        grandchild.wait_death().await;
    });
}

#[test]
fn no_process_can_leave_the_job() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, mut events) = Supervisor::start(sidecar("escape", &reports).grace(Duration::ZERO));
        assert_eq!(
            state(&mut events, State::Failed).await.exit,
            Some(exited(0)),
            "the system did not refuse it"
        );
        drop(supervisor);
    });
}
