//! A stop asks, waits for the grace period, and kills. The outcome says which of these steps was needed.

use std::time::Duration;

use integration_tests::{ProcessTree, ReportServer, run};
use pillion::{Events, Exit, FailureKind, State, StopOutcome, Supervisor};
use rustix::process::Signal;

use crate::support::{assert_failure, rest, state, status, tree};

/// A grace period that expires while the sidecar ignores the stop.
const SHORT: Duration = Duration::from_millis(200);
/// A grace period that expires for a part of the sidecar, after the other part has ended on request.
const PARTIAL: Duration = Duration::from_secs(5);
const CODE_0: Exit = Exit::with_code(0);
const TERMED: Exit = Exit::with_signal(15);
const KILLED: Exit = Exit::with_signal(9);

/// Starts a sidecar without a limit on its stop, and waits until it is ready.
async fn ready(tree: &ProcessTree, steps: &str) -> (Supervisor, Events) {
    ready_with(tree, steps, Duration::MAX).await
}

async fn ready_with(tree: &ProcessTree, steps: &str, grace: Duration) -> (Supervisor, Events) {
    let spec = tree.sidecar(&format!("listen ok {steps}")).grace(grace);
    let (supervisor, events) = Supervisor::start(spec);
    supervisor.ready().await.unwrap();
    (supervisor, events)
}

#[test]
fn a_cooperative_sidecar_ends_on_request() {
    run(async {
        // By a SIGTERM handler, by the end of stdin alone, by the default action of SIGTERM, and with a failure.
        for (steps, exit) in [
            ("announce term exit 0", CODE_0),
            ("ignore-term announce eof exit 0", CODE_0),
            ("announce park", TERMED),
            ("announce term exit 9", Exit::with_code(9)),
        ] {
            let tree = tree();
            let (supervisor, mut events) = ready(&tree, steps).await;
            assert_eq!(supervisor.stop().await, StopOutcome::Graceful(exit), "{steps}");
            tree.assert_dead();
            let stopping = state(&mut events, State::Stopping).await;
            assert!(stopping.reason.unwrap().starts_with("asked to stop"));
            let down = state(&mut events, State::Stopped).await;
            assert_eq!((down.exit, down.failure), (Some(exit), None), "{steps}");
            assert_eq!(supervisor.stop().await, StopOutcome::NotRunning);
            assert_eq!(supervisor.kill().await, StopOutcome::NotRunning);
        }
    });
}

#[test]
fn a_sidecar_that_ignores_the_stop_is_killed_after_the_grace_period() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = ready_with(&tree, "ignore-term announce park", SHORT).await;
        assert_eq!(supervisor.stop().await, StopOutcome::Killed(KILLED));
        tree.assert_dead();
        let down = state(&mut events, State::Stopped).await;
        assert_eq!((down.exit, down.failure), (Some(KILLED), None));
        assert_eq!(down.reason.unwrap(), "was killed by SIGKILL: it did not end by itself");
    });
}

#[test]
fn a_grandchild_that_ignores_the_stop_is_killed_and_the_outcome_says_so() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("fork ignore-term report {} up park ; announce term exit 0", reports.port());
        let (supervisor, _) = ready_with(&tree, &steps, PARTIAL).await;
        let grandchild = reports.wait_for("up").await;
        assert_eq!(supervisor.stop().await, StopOutcome::GroupKilled(CODE_0));
        tree.assert_dead();
        grandchild.wait_death().await;
    });
}

#[test]
fn the_server_behind_a_wrapper_gets_the_whole_grace_period() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let script =
            r#""$FAKE" listen ok announce term report $0 stopping wait out finished\\n exit 0; exit 1"#;
        let program = tree.program("sh").args(["-c", script, &reports.port().to_string()]);
        let spec = tree.spec(program).grace(Duration::MAX);
        let (supervisor, mut events) = Supervisor::start(spec);
        supervisor.ready().await.unwrap();
        let stop = tokio::spawn(async move { supervisor.stop().await });
        let mut server = reports.wait_for("stopping").await;
        // SIGTERM kills the shell. Its server is still at work when the status shows the exit.
        let seen = status(&mut events, |status| status.exit.is_some()).await;
        assert_eq!((seen.state, seen.exit), (State::Stopping, Some(TERMED)));
        assert!(!stop.is_finished());
        server.resume().await;
        assert_eq!(stop.await.unwrap(), StopOutcome::Graceful(TERMED));
        tree.assert_dead();
        assert_eq!(
            rest(&mut events, pillion::OutputStream::Stdout).await,
            (vec!["finished".to_owned()], false)
        );
    });
}

#[test]
fn a_process_that_left_the_group_is_found() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        // A daemon: two forks and its own session. It ignores SIGTERM.
        let leave = "import os, signal, socket, sys\n\
             signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
             if os.fork(): os._exit(0)\n\
             os.setsid()\n\
             if os.fork(): os._exit(0)\n\
             test = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
             test.sendall(b'up\\n')\n\
             test.recv(1)\n";
        let script = r#"python3 -c "$1" "$0" & exec "$FAKE" listen ok announce term exit 0"#;
        let program = tree.program("sh").args(["-c", script, &reports.port().to_string(), leave]);
        let spec = tree.spec(program).grace(PARTIAL);
        let (supervisor, _) = Supervisor::start(spec);
        let daemon = reports.wait_for("up").await;
        supervisor.ready().await.unwrap();
        assert_eq!(supervisor.stop().await, StopOutcome::GroupKilled(CODE_0));
        tree.assert_dead();
        daemon.wait_death().await;
    });
}

#[test]
fn a_stop_during_the_start_ends_the_start() {
    run(async {
        // Before the announcement, during the health check, and before the launch.
        for steps in ["park", "listen 503 announce park", "listen silent announce park"] {
            let (tree, reports) = (tree(), ReportServer::new().await);
            let steps = steps.replace("park", &format!("report {} up park", reports.port()));
            let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps).grace(Duration::MAX));
            let sidecar = reports.wait_for("up").await;
            let ready = tokio::spawn({
                let supervisor = supervisor.clone();
                async move { supervisor.ready().await }
            });
            assert_eq!(supervisor.stop().await, StopOutcome::Graceful(TERMED), "{steps}");
            sidecar.wait_death().await;
            assert_failure(
                &ready.await.unwrap().unwrap_err(),
                FailureKind::Stopped,
                &["sidecar was stopped"],
            );
            assert_eq!(state(&mut events, State::Stopped).await.failure, None);
        }
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.sidecar("park"));
        assert_eq!(supervisor.stop().await, StopOutcome::Graceful(TERMED));
        tree.assert_dead();
    });
}

#[test]
fn concurrent_stops_return_the_same_outcome() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("announce term report {} stopping wait exit 0", reports.port());
        let (supervisor, _) = ready(&tree, &steps).await;
        let stops: Vec<_> = (0..10)
            .map(|_| {
                let supervisor = supervisor.clone();
                tokio::spawn(async move { supervisor.stop().await })
            })
            .collect();
        reports.wait_for("stopping").await.resume().await;
        for stop in stops {
            assert_eq!(stop.await.unwrap(), StopOutcome::Graceful(CODE_0));
        }
    });
}

#[test]
fn a_stop_takes_effect_without_a_waiting_caller() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("announce term report {} stopping wait exit 0", reports.port());
        let (supervisor, mut events) = ready(&tree, &steps).await;
        let stop = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.stop().await }
        });
        let mut sidecar = reports.wait_for("stopping").await;
        stop.abort();
        assert!(stop.await.unwrap_err().is_cancelled());
        sidecar.resume().await;
        assert_eq!(state(&mut events, State::Stopped).await.exit, Some(CODE_0));
    });
}

#[test]
fn a_kill_ends_the_grace_period() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("announce term report {} stopping park", reports.port());
        let (supervisor, _) = ready(&tree, &steps).await;
        let stop = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.stop().await }
        });
        let sidecar = reports.wait_for("stopping").await;
        assert_eq!(supervisor.kill().await, StopOutcome::Killed(KILLED));
        assert_eq!(stop.await.unwrap(), StopOutcome::Killed(KILLED));
        sidecar.wait_death().await;
        tree.assert_dead();
    });
}

#[test]
fn a_kill_ends_the_whole_group_at_once() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("fork ignore-term report {} up park ; announce term park", reports.port());
        let (supervisor, _) = ready(&tree, &steps).await;
        let grandchild = reports.wait_for("up").await;
        assert_eq!(supervisor.kill().await, StopOutcome::Killed(KILLED));
        tree.assert_dead();
        grandchild.wait_death().await;
    });
}

#[test]
fn a_frozen_sidecar_is_continued_so_that_it_can_stop() {
    run(async {
        let tree = tree();
        let (supervisor, _) = ready(&tree, "announce term exit 0").await;
        tree.sidecars()[0].signal(Signal::STOP).unwrap();
        assert_eq!(supervisor.stop().await, StopOutcome::Graceful(CODE_0));
    });
}

#[test]
fn output_during_a_stop_is_read_to_its_end() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = ready(&tree, "announce term lines 100000 out end\\n exit 0").await;
        assert_eq!(supervisor.stop().await, StopOutcome::Graceful(CODE_0));
        let (lines, _) = rest(&mut events, pillion::OutputStream::Stdout).await;
        assert_eq!(lines.last().unwrap(), "end");
    });
}
