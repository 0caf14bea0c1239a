//! The watchdog of `sd_notify(3)`: programs that say that they work, as services of systemd with `WatchdogSec` do.

use std::time::Duration;

use integration_tests::{ProcessTree, ReportServer, run};
use pillion::{FailureKind, Liveness, Readiness, ReadyCheck, Restart, Spec, State, Supervisor};

use crate::support::{assert_failure, line, state, status, tree};

/// An interval that no test waits for.
const NEVER: Duration = Duration::from_secs(86_400);
/// An interval that ends while a test waits.
const SOON: Duration = Duration::from_millis(1);

/// A program in Python that has `notify(text)` and `wait()`, which waits until the test answers, and that ends with its stdin.
fn python(tree: &ProcessTree, reports: &ReportServer, steps: &str) -> Spec {
    let script = format!(
        "import os, socket, sys\n\
         def notify(text):\n    \
             with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client: client.sendto(text.encode(), os.environ['NOTIFY_SOCKET'])\n\
         gate = socket.create_connection(('127.0.0.1', {}))\n\
         def wait(): gate.sendall(b'waits\\n'); gate.recv(1)\n\
         {steps}\n\
         sys.stdin.read()\n",
        reports.port()
    );
    tree.spec(tree.program("python3").args(["-c", &script])).ready_check(ReadyCheck::Notify)
}

#[test]
fn a_program_that_stops_saying_that_it_works_is_restarted() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = "print(os.environ['WATCHDOG_USEC'], os.environ['WATCHDOG_PID'] == str(os.getpid()), flush=True)\n\
                     notify('READY=1'); notify('WATCHDOG=1'); wait(); notify('WATCHDOG_USEC=1000')";
        let spec = python(&tree, &reports, steps).watchdog(NEVER).restart(Restart::OnFailure);
        let (supervisor, mut events) = Supervisor::start(spec);
        line(&mut events, "86400000000 True").await;
        let mut first = reports.wait_for("waits").await;
        // Its output and its messages come on different ways, in any order.
        let ready = supervisor.ready().await.unwrap();
        first.resume().await;
        let hung = status(&mut events, |status| status.failure.is_some()).await;
        let parts = ["hangs: it sent no WATCHDOG=1 for 1 ms"];
        assert_failure(&hung.failure.unwrap(), FailureKind::Hung, &parts);
        first.wait_death().await;
        // The next run has the declared interval again.
        line(&mut events, "86400000000 True").await;
        let next = supervisor.ready().await.unwrap();
        assert_eq!((supervisor.status().restarts, next.pid == ready.pid), (1, false));
        let _ = supervisor.stop().await;
        tree.assert_dead();
    });
}

#[test]
fn a_program_that_hangs_and_is_not_restarted_is_ready_again_when_it_says_that_it_works() {
    run(async {
        let tree = tree();
        for spec in [
            |spec: Spec| spec.restart(Restart::Never),
            |spec: Spec| spec.liveness(Liveness::default().with_restart(false)),
        ] {
            let reports = ReportServer::new().await;
            let steps = "notify('READY=1'); wait(); notify(f'WATCHDOG=1\\nWATCHDOG_USEC={10**12}')";
            let (supervisor, mut events) =
                Supervisor::start(spec(python(&tree, &reports, steps).watchdog(SOON)));
            let hung = state(&mut events, State::Unhealthy).await;
            let reason = hung.reason.unwrap();
            assert!(
                reason.starts_with(
                    "sidecar hangs: it sent READY=1, and no WATCHDOG=1 within 1 ms after that; "
                ) && reason.ends_with("; it is not restarted"),
                "{reason}"
            );
            reports.wait_for("waits").await.resume().await;
            let ready = state(&mut events, State::Ready).await;
            assert_eq!((ready.pid, ready.restarts), (hung.pid, 0));
            let _ = supervisor.stop().await;
        }
    });
}

#[test]
fn a_program_that_reports_an_internal_error_counts_as_hung_at_once() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        // Also without a declared watchdog.
        let steps = "notify('READY=1'); wait(); notify('WATCHDOG=trigger')";
        let (supervisor, mut events) =
            Supervisor::start(python(&tree, &reports, steps).restart(Restart::OnFailure));
        let mut first = reports.wait_for("waits").await;
        state(&mut events, State::Ready).await;
        first.resume().await;
        let hung = status(&mut events, |status| status.failure.is_some()).await;
        let parts = ["says that it hangs (WATCHDOG=trigger)"];
        assert_failure(&hung.failure.unwrap(), FailureKind::Hung, &parts);
        first.wait_death().await;
        assert_eq!(state(&mut events, State::Ready).await.restarts, 1);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_start_in_which_a_program_reports_an_internal_error_fails_at_once() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let spec = python(&tree, &reports, "notify('WATCHDOG=trigger')").ready_timeout(NEVER);
        let (supervisor, _events) = Supervisor::start(spec.restart(Restart::OnFailure));
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::Hung, &["(WATCHDOG=trigger)"]);
        // A first start that fails is not repeated.
        let failed = supervisor.stop().await;
        assert_eq!(supervisor.status().state, State::Failed, "{failed:?}");
        tree.assert_dead();
    });
}

#[test]
fn a_program_without_a_watchdog_may_begin_one_and_end_it() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = "print(os.environ.get('WATCHDOG_USEC'), os.environ.get('WATCHDOG_PID'), flush=True)\n\
                     notify(f'WATCHDOG_USEC={10**12}\\nREADY=1')\n\
                     notify('WATCHDOG_USEC=0\\nSTATUS=ended'); wait(); notify('WATCHDOG_USEC=1')";
        let (supervisor, mut events) =
            Supervisor::start(python(&tree, &reports, steps).restart(Restart::Never));
        line(&mut events, "None None").await;
        // From the present status on: it may have come before the line.
        let mut events = supervisor.subscribe().unwrap();
        status(&mut events, |status| status.progress.as_deref() == Some("ended")).await;
        assert_eq!(supervisor.status().readiness, Readiness::Up);
        reports.wait_for("waits").await.resume().await;
        let hung = state(&mut events, State::Unhealthy).await;
        assert!(hung.reason.unwrap().contains("hangs"));
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_missed_watchdog_is_over_when_the_program_ends_its_watch_but_not_when_it_is_ready_again() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = "notify('WATCHDOG_USEC=1\\nREADY=1'); wait(); notify('READY=1\\nSTATUS=again'); wait(); notify('WATCHDOG_USEC=0')";
        let spec = python(&tree, &reports, steps).restart(Restart::Never);
        let (supervisor, mut events) = Supervisor::start(spec);
        state(&mut events, State::Unhealthy).await;
        let mut gate = reports.wait_for("waits").await;
        gate.resume().await;
        let again = status(&mut events, |status| status.progress.as_deref() == Some("again")).await;
        assert_eq!(again.state, State::Unhealthy);
        gate.resume().await;
        let ready = state(&mut events, State::Ready).await;
        assert_eq!(ready.progress.as_deref(), Some("again"), "READY=1 alone made it ready");
        let _ = supervisor.stop().await;
        tree.assert_dead();
    });
}
