//! A sidecar that uses more memory than its declaration allows is warned about, stopped and restarted.
#![cfg(target_os = "linux")]

use integration_tests::{ReportServer, run};
use pillion::{EndReason, Exit, FailureKind, Restart, SidecarEvent, State, Supervisor};

use crate::support::{assert_failure, first, notice, state, tree};

const MIB: u64 = 1 << 20;

#[test]
fn a_sidecar_that_grows_is_warned_about_stopped_gracefully_and_restarted() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        // The memory is that of a child, and the leader ends when it is asked to.
        let steps = format!(
            "listen ok announce fork memory 185 report {port} warm wait memory 40 park ; term exit 0"
        );
        let (supervisor, mut events) =
            Supervisor::start(tree.sidecar(&steps).restart(Restart::OnFailure).max_memory(200 * MIB));
        let endpoint = supervisor.ready().await.unwrap();
        let warned = notice(&mut events).await;
        assert!(warned.contains("together") && warned.contains("200 MiB (`maxMemory`)"), "{warned}");
        assert_eq!(supervisor.status().state, State::Ready);

        reports.wait_for("warm").await.resume().await;
        let stopping = state(&mut events, State::Stopping).await;
        let failure = stopping.failure.unwrap();
        assert_failure(
            &failure,
            FailureKind::MemoryLimit,
            &["its memory limit of 200 MiB", "raise `maxMemory`"],
        );
        let report = first(&mut events, |event| match event {
            SidecarEvent::Ended(report) => Some(report),
            _ => None,
        })
        .await;
        assert_eq!((report.reason, report.exit), (EndReason::MemoryLimit, Some(Exit::with_code(0))));
        assert_eq!(report.message.as_ref(), Some(&failure.message));
        assert!(report.is_notable());

        let again = supervisor.ready().await.unwrap();
        assert_ne!(again.pid, endpoint.pid);
        assert_eq!(supervisor.status().restarts, 1);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_sidecar_that_must_not_be_restarted_stays_down_at_its_limit() {
    run(async {
        let tree = tree();
        let spec = tree.sidecar("listen ok announce memory 64 term exit 0").max_memory(32 * MIB);
        let (supervisor, mut events) = Supervisor::start(spec.restart(Restart::Never));
        supervisor.ready().await.unwrap();
        let down = state(&mut events, State::Failed).await;
        assert_failure(&down.failure.unwrap(), FailureKind::MemoryLimit, &["32 MiB"]);
    });
}
