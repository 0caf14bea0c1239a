//! `sd_notify(3)`: programs that tell their readiness as services of systemd do.

use integration_tests::{ProcessTree, ReportServer, run};
use pillion::{FailureKind, ReadyCheck, Spec, State, StopOutcome, Supervisor};

use crate::support::{assert_failure, expire, notice, state, status, tree};

/// A program in Python that has `notify(text)`, and that waits for the end of its stdin.
fn python(tree: &ProcessTree, steps: &str) -> Spec {
    let script = format!(
        "import os, socket, subprocess, sys\n\
         def notify(text):\n    \
             with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client: client.sendto(text.encode(), os.environ['NOTIFY_SOCKET'])\n\
         {steps}\n\
         sys.stdin.read()\n"
    );
    checked(tree.spec(tree.program("python3").args(["-c", &script])))
}

fn checked(spec: Spec) -> Spec {
    spec.ready_check(ReadyCheck::Notify)
}

#[test]
fn a_program_is_ready_when_it_says_so_and_its_status_is_shown() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!(
            "gate = socket.create_connection(('127.0.0.1', {})); gate.sendall(b'loading\\n')\n\
             notify('STATUS=Loading 42%\\nWATCHDOG=1'); gate.recv(1)\n\
             notify('READY=1\\nSTATUS=Serving')",
            reports.port()
        );
        let (supervisor, mut events) = Supervisor::start(python(&tree, &steps));
        let starting = status(&mut events, |status| status.progress.as_deref() == Some("Loading 42%")).await;
        assert_eq!(starting.state, State::Starting);
        assert_eq!(starting.reason.as_deref(), Some("waiting for READY=1 on its NOTIFY_SOCKET"));
        reports.wait_for("loading").await.resume().await;
        let endpoint = supervisor.ready().await.unwrap();
        assert_eq!((endpoint.url, endpoint.port), (None, None));
        let ready = status(&mut events, |status| status.progress.as_deref() == Some("Serving")).await;
        assert_eq!((ready.state, ready.reason.as_deref()), (State::Ready, Some("it sent READY=1")));
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_child_may_speak_for_the_program_and_systemd_notify_does() {
    run(async {
        let tree = tree();
        // `systemd-notify` waits by `BARRIER=1` until its message was read.
        let script = "systemd-notify --status='from a child' && systemd-notify --ready && exec cat";
        let program = tree.program("sh").args(["-c", script]);
        let (supervisor, mut events) = Supervisor::start(checked(tree.spec(program)));
        status(&mut events, |status| status.progress.as_deref() == Some("from a child")).await;
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
    });
}

#[test]
fn another_process_cannot_speak_for_the_program() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!(
            "gate = socket.create_connection(('127.0.0.1', {}))\n\
             gate.sendall(os.environ['NOTIFY_SOCKET'].encode() + b'\\n'); gate.recv(1)",
            reports.port()
        );
        let (supervisor, mut events) = Supervisor::start(python(&tree, &steps));
        let mut gate = reports.next().await;
        let path = gate.text.clone();
        // This process is of the same user, and not of the run.
        let foreign = std::os::unix::net::UnixDatagram::unbound().unwrap();
        foreign.send_to(b"READY=1\nSTATUS=foreign", &path).unwrap();
        let notice = notice(&mut events).await;
        let me = format!("process {} sent a message to its NOTIFY_SOCKET", std::process::id());
        assert!(notice.starts_with(&me), "{notice}");
        let now = supervisor.status();
        assert_eq!((now.state, now.progress), (State::Starting, None));
        gate.resume().await;
        let _ = supervisor.stop().await;
        // A task closes the socket.
        while foreign.connect(&path).is_ok() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_program_that_says_that_it_stops_is_unhealthy_until_it_ends() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) =
            Supervisor::start(python(&tree, "notify('READY=1'); notify('STOPPING=1')"));
        let stopping = state(&mut events, State::Unhealthy).await;
        assert_eq!(stopping.reason.as_deref(), Some("it says that it is stopping (STOPPING=1)"));
        let outcome = supervisor.stop().await;
        assert!(matches!(outcome, StopOutcome::Graceful(_)), "{outcome:?}");
    });
}

#[test]
fn a_start_that_sends_no_ready_expires_with_its_last_status() {
    run(async {
        let tree = tree();
        let parts = ["did not send READY=1 to its NOTIFY_SOCKET", "its last progress was \"migrating\""];
        expire(|| python(&tree, "notify('STATUS=migrating')"), &parts).await;
    });
}

#[test]
fn a_start_that_asks_for_more_time_gets_it_up_to_the_maximum() {
    run(async {
        let tree = tree();
        let mut messages = Vec::new();
        // The shortest limit within which the program gets so far on this machine.
        for limit in [1, 10, 60].map(std::time::Duration::from_secs) {
            let spec = python(&tree, "notify('EXTEND_TIMEOUT_USEC=3600000000')");
            let max = limit + std::time::Duration::from_millis(300);
            let (supervisor, _events) = Supervisor::start(spec.ready_timeout(limit).ready_timeout_max(max));
            let failure = supervisor.ready().await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::ReadyTimeout);
            let _ = supervisor.stop().await;
            if failure.message.contains(&format!("within {}.3 s", limit.as_secs())) {
                return;
            }
            messages.push(failure.message);
        }
        panic!("no start got more time: {messages:?}");
    });
}

#[test]
fn other_programs_get_no_socket() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) =
            Supervisor::start(tree.sidecar("env NOTIFY_SOCKET listen ok announce term"));
        crate::support::line(&mut events, "NOTIFY_SOCKET is unset").await;
        let _ = supervisor.stop().await;
        let crash = checked(tree.spec(tree.program("false")));
        let (supervisor, _events) = Supervisor::start(crash);
        assert_failure(
            &supervisor.ready().await.unwrap_err(),
            FailureKind::ExitedEarly,
            &["before it was ready"],
        );
    });
}
