//! Requested restarts, and the end of a sidecar with its last handle or its runtime.

use std::time::{Duration, Instant};

use integration_tests::{ReportServer, TEST_TIMEOUT, run};
use pillion::{FailureKind, State, StopOutcome, Supervisor};
use tokio::runtime;

use crate::support::{assert_failure, line, state, tree};

#[test]
fn a_restart_gives_a_new_process_and_a_new_port() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = Supervisor::start(tree.sidecar("listen ok announce term exit 0"));
        let before = supervisor.ready().await.unwrap();
        let after = supervisor.restart().await.unwrap();
        assert_ne!(before.pid, after.pid);
        assert_ne!(before.port, after.port);
        assert_eq!(
            tree.sidecars().iter().map(|process| process.pid).collect::<Vec<_>>(),
            [after.pid.unwrap()]
        );
        let stopping = state(&mut events, State::Stopping).await;
        assert_eq!(stopping.reason.as_deref(), Some("asked to restart"));
        assert_eq!(state(&mut events, State::Ready).await.port, after.port);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_failed_sidecar_can_be_started_again() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let dir = tempfile::tempdir().unwrap();
        let flag = dir.path().join("flag");
        let script = r#"[ -e "$0" ] && exec "$FAKE" listen ok announce report "$1" up wait exit 8; echo first >&2; exit 3"#;
        let port = reports.port().to_string();
        let spec = tree.spec(tree.program("sh").args(["-c", script]).arg(&flag).arg(port));
        let (supervisor, mut events) = Supervisor::start(spec);
        assert_failure(&supervisor.ready().await.unwrap_err(), FailureKind::ExitedEarly, &["code 3"]);
        // After the end of the run: a start during its clean-up would be a restart.
        state(&mut events, State::Failed).await;
        assert_failure(&supervisor.restart().await.unwrap_err(), FailureKind::ExitedEarly, &["code 3"]);
        std::fs::write(&flag, "").unwrap();
        supervisor.restart().await.unwrap();
        assert_eq!((supervisor.status().failure, supervisor.status().exit), (None, None));
        // The failure of the new run contains no output of the earlier one.
        reports.wait_for("up").await.resume().await;
        let failure = loop {
            let status = state(&mut events, State::Failed).await;
            if let Some(failure) = status.failure.filter(|failure| failure.kind == FailureKind::Crashed) {
                break failure;
            }
        };
        assert!(!failure.detail.tail.contains(&"first".to_owned()), "{failure:?}");
        assert_eq!(failure.detail.exit.unwrap().code, Some(8));
    });
}

#[test]
fn a_later_stop_cancels_a_restart_and_a_later_restart_follows_a_stop() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen ok announce term report {} stopping wait exit 0", reports.port());
        let (supervisor, _) = Supervisor::start(tree.sidecar(&steps).grace(Duration::MAX));
        let call = |what: &'static str| {
            let supervisor = supervisor.clone();
            tokio::spawn(async move {
                match what {
                    "stop" => Err(supervisor.stop().await),
                    _ => Ok(supervisor.restart().await),
                }
            })
        };
        let before = supervisor.ready().await.unwrap();
        let stop = call("stop");
        let mut stopping = reports.wait_for("stopping").await;
        let restarted = supervisor.clone();
        let restart = tokio::spawn(async move { restarted.restart().await });
        // The status shows when the restart is under way.
        let mut watch = supervisor.watch();
        while watch.next().await.unwrap().reason.as_deref() != Some("asked to restart") {}
        stopping.resume().await;
        let StopOutcome::Graceful(_) = stop.await.unwrap().unwrap_err() else { panic!("it was killed") };
        assert_ne!(restart.await.unwrap().unwrap().pid, before.pid);

        let restart = call("restart");
        let mut stopping = reports.wait_for("stopping").await;
        let stop = call("stop");
        let refused = restart.await.unwrap().unwrap().unwrap_err();
        assert_failure(&refused, FailureKind::Stopped, &["sidecar was stopped"]);
        stopping.resume().await;
        let StopOutcome::Graceful(_) = stop.await.unwrap().unwrap_err() else { panic!("it was killed") };
        assert_eq!(supervisor.status().state, State::Stopped);
        tree.assert_dead();
    });
}

#[test]
fn the_last_handle_dropped_stops_the_sidecar_with_grace() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) =
            Supervisor::start(tree.sidecar("listen ok announce term out goodbye\\n exit 0"));
        let clone = supervisor.clone();
        supervisor.ready().await.unwrap();
        drop(supervisor);
        assert_eq!(clone.ready().await.unwrap().sidecar, "sidecar");
        drop(clone);
        line(&mut events, "goodbye").await;
        assert_eq!(state(&mut events, State::Stopped).await.exit.unwrap().code, Some(0));
        assert!(events.next().await.is_none(), "the events end with the last handle");
        tree.assert_dead();
    });
}

#[test]
fn a_handle_dropped_during_the_start_leaves_no_process() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = Supervisor::start(tree.sidecar("listen 503 announce park"));
        drop(supervisor);
        state(&mut events, State::Stopped).await;
        tree.assert_dead();
    });
}

#[test]
fn a_runtime_that_shuts_down_leaves_no_process() {
    let tree = tree();
    for workers in [None, Some(2)] {
        let own = match workers {
            None => runtime::Builder::new_current_thread().enable_all().build(),
            Some(workers) => {
                runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()
            }
        };
        let own = own.unwrap();
        let (supervisor, reporters) = own.block_on(async {
            let reports = ReportServer::new().await;
            let port = reports.port();
            let steps =
                format!("fork ignore-term report {port} up park ; ignore-term listen ok announce report {port} up park");
            let (supervisor, _) = Supervisor::start(tree.sidecar(&steps).grace(Duration::from_millis(50)));
            supervisor.ready().await.unwrap();
            (supervisor, [reports.wait_for("up").await, reports.wait_for("up").await])
        });
        // The connections belong to that runtime as well. The tree observes the processes without them.
        drop(reporters);
        let alive = tree.sidecars();
        assert_eq!(alive.len(), 2);
        drop(own);
        for process in alive {
            assert!(process.ends_before(Instant::now() + TEST_TIMEOUT), "{process:?} outlived its runtime");
        }
        run(async move {
            assert_failure(
                &supervisor.ready().await.unwrap_err(),
                FailureKind::Stopped,
                &["no longer supervised"],
            );
            assert_eq!(supervisor.stop().await, StopOutcome::NotRunning);
            assert_failure(
                &supervisor.restart().await.unwrap_err(),
                FailureKind::Stopped,
                &["program is ending"],
            );
            assert!(supervisor.subscribe().is_none());
        });
    }
}

#[test]
fn a_closed_sidecar_cannot_be_restarted() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen ok announce term report {} stopping wait exit 0", reports.port());
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps).grace(Duration::MAX));
        let before = supervisor.ready().await.unwrap();
        // The restart was requested first, and its stop is under way.
        let again = supervisor.clone();
        let again = tokio::spawn(async move { again.restart().await });
        let mut stopping = reports.wait_for("stopping").await;
        let closed = supervisor.clone();
        let closed = tokio::spawn(async move { closed.close().await });
        assert_failure(&again.await.unwrap().unwrap_err(), FailureKind::Stopped, &[]);
        // Both during the stop and after it.
        assert_failure(
            &supervisor.restart().await.unwrap_err(),
            FailureKind::Stopped,
            &["the program is ending"],
        );
        stopping.resume().await;
        assert!(matches!(closed.await.unwrap(), StopOutcome::Graceful(_)));
        assert_failure(
            &supervisor.restart().await.unwrap_err(),
            FailureKind::Stopped,
            &["the program is ending"],
        );
        assert_eq!(supervisor.stop().await, StopOutcome::NotRunning);
        assert_eq!(supervisor.status().pid, before.pid);
        // The events end with the supervision.
        while events.next().await.is_some() {}
    });
}

#[test]
fn a_kill_ends_the_grace_period_of_a_close() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) =
            Supervisor::start(tree.sidecar("ignore-term listen ok announce park").grace(Duration::MAX));
        supervisor.ready().await.unwrap();
        let closed = supervisor.clone();
        let closed = tokio::spawn(async move { closed.close().await });
        state(&mut events, State::Stopping).await;
        assert!(matches!(supervisor.kill().await, StopOutcome::Killed(_)));
        assert!(matches!(closed.await.unwrap(), StopOutcome::Killed(_)));
    });
}
