//! Stop: asked, given its grace period, then killed; and the outcome says which of these it took.

use std::time::Duration;

use integration_tests::{ProcessTree, ReportServer, run};
use pillion::{Events, Exit, FailureKind, State, StopOutcome, Supervisor};
use rustix::process::Signal;

use crate::support::{assert_failure, phase, rest, status, tree};

/// A grace period that is meant to run out.
const SHORT: Duration = Duration::from_millis(200);
const CODE_0: Exit = Exit::with_code(0);
const TERMED: Exit = Exit::with_signal(15);
const KILLED: Exit = Exit::with_signal(9);

/// A sidecar that is ready, and may take as long as it likes to stop.
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
fn a_cooperative_sidecar_ends_by_itself() {
    run(async {
        // By SIGTERM, by the end of stdin (deaf to SIGTERM), by the default action of SIGTERM, and unsuccessfully.
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
            let stopping = phase(&mut events, State::Stopping).await;
            assert!(stopping.reason.unwrap().starts_with("asked to stop"));
            let down = phase(&mut events, State::Stopped).await;
            assert_eq!((down.exit, down.failure), (Some(exit), None), "{steps}");
            assert_eq!(supervisor.stop().await, StopOutcome::NotRunning);
            assert_eq!(supervisor.kill().await, StopOutcome::NotRunning);
        }
    });
}

#[test]
fn who_hears_nothing_is_killed_after_the_grace_period() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = ready_with(&tree, "ignore-term announce park", SHORT).await;
        assert_eq!(supervisor.stop().await, StopOutcome::Killed(KILLED));
        tree.assert_dead();
        let down = phase(&mut events, State::Stopped).await;
        assert_eq!((down.exit, down.failure), (Some(KILLED), None));
        assert_eq!(down.reason.unwrap(), "was killed by SIGKILL: it did not end by itself");
    });
}

#[test]
fn a_deaf_grandchild_is_killed_and_the_outcome_says_so() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("fork ignore-term report {} up park ; announce term exit 0", reports.port());
        let (supervisor, _) = ready_with(&tree, &steps, SHORT).await;
        let grandchild = reports.wait_for("up").await;
        assert_eq!(supervisor.stop().await, StopOutcome::GroupKilled(CODE_0));
        tree.assert_dead();
        grandchild.wait_death().await;
    });
}

#[test]
fn the_real_server_behind_a_wrapper_gets_its_time() {
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
        // The shell dies of SIGTERM, and is seen dead while its server is still at work.
        let seen = status(&mut events, |status| status.exit.is_some()).await;
        assert_eq!((seen.state, seen.exit), (State::Stopping, Some(TERMED)));
        assert!(!stop.is_finished());
        server.resume().await;
        assert_eq!(stop.await.unwrap(), StopOutcome::Graceful(TERMED));
        tree.assert_dead();
        assert_eq!(rest(&mut events, pillion::Stream::Stdout).await, (vec!["finished".to_owned()], false));
    });
}

#[test]
fn a_member_that_leaves_the_group_is_found_all_the_same() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        // A daemon by the book: two forks, a session of its own, and deaf on top of it.
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
        let spec = tree.spec(program).grace(SHORT);
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
        // While it announces nothing, while its health is asked for, and before it was even launched.
        for steps in ["park", "listen 503 announce park", "listen silent announce park"] {
            let (tree, reports) = (tree(), ReportServer::new().await);
            let steps = steps.replace("park", &format!("report {} up park", reports.port()));
            let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps).grace(Duration::MAX));
            let contact = reports.wait_for("up").await;
            let ready = tokio::spawn({
                let supervisor = supervisor.clone();
                async move { supervisor.ready().await }
            });
            assert_eq!(supervisor.stop().await, StopOutcome::Graceful(TERMED), "{steps}");
            contact.wait_death().await;
            assert_failure(
                &ready.await.unwrap().unwrap_err(),
                FailureKind::Stopped,
                &["sidecar was stopped"],
            );
            assert_eq!(phase(&mut events, State::Stopped).await.failure, None);
        }
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.sidecar("park"));
        assert_eq!(supervisor.stop().await, StopOutcome::Graceful(TERMED));
        tree.assert_dead();
    });
}

#[test]
fn everybody_who_stops_at_once_gets_the_one_outcome() {
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
fn a_stop_that_nobody_waits_for_still_holds() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("announce term report {} stopping wait exit 0", reports.port());
        let (supervisor, mut events) = ready(&tree, &steps).await;
        let stop = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.stop().await }
        });
        let mut contact = reports.wait_for("stopping").await;
        stop.abort();
        assert!(stop.await.unwrap_err().is_cancelled());
        contact.resume().await;
        assert_eq!(phase(&mut events, State::Stopped).await.exit, Some(CODE_0));
    });
}

#[test]
fn force_cuts_the_grace_period_short() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("announce term report {} stopping park", reports.port());
        let (supervisor, _) = ready(&tree, &steps).await;
        let stop = tokio::spawn({
            let supervisor = supervisor.clone();
            async move { supervisor.stop().await }
        });
        let contact = reports.wait_for("stopping").await;
        assert_eq!(supervisor.kill().await, StopOutcome::Killed(KILLED));
        assert_eq!(stop.await.unwrap(), StopOutcome::Killed(KILLED));
        contact.wait_death().await;
        tree.assert_dead();
    });
}

#[test]
fn force_alone_kills_the_whole_group_at_once() {
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
fn a_sidecar_that_floods_while_it_stops_is_drained_to_its_end() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = ready(&tree, "announce term lines 100000 out end\\n exit 0").await;
        assert_eq!(supervisor.stop().await, StopOutcome::Graceful(CODE_0));
        let (lines, _) = rest(&mut events, pillion::Stream::Stdout).await;
        assert_eq!(lines.last().unwrap(), "end");
    });
}
