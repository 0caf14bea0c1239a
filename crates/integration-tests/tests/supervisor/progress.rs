//! Progress: how far a sidecar says it is.

use std::time::Duration;

use integration_tests::{ReportServer, TEST_TIMEOUT, run};
use pillion::{Events, FailureKind, SidecarEvent, Spec, State, Status, Supervisor};

use crate::support::{assert_failure, expire, first, state, status, tree};

/// Waits for these words.
async fn words(events: &mut Events, wanted: &str) -> Status {
    status(events, |status| status.progress.as_deref() == Some(wanted)).await
}

#[test]
fn progress_is_in_the_status_from_the_start_to_the_end_of_the_process() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let pause = format!("report {} said wait", reports.port());
        let steps = format!(
            "out BACKEND_STATUS:loading\\smodel\\s42%\\n {pause} listen ok announce {pause} \
             out \\x1b[32mBACKEND_STATUS:\\s3\\x09users\\x07\\x1b[0m\\n {pause} out BACKEND_STATUS:\\n {pause} term \
             out BACKEND_STATUS:saving\\n {pause}"
        );
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps).grace(TEST_TIMEOUT));
        let starting = words(&mut events, "loading model 42%").await;
        assert_eq!((starting.state, starting.port), (State::Starting, None));
        reports.wait_for("said").await.resume().await;
        let ready = state(&mut events, State::Ready).await;
        assert_eq!(
            ready.progress.as_deref(),
            Some("loading model 42%"),
            "the words hold until the next ones"
        );
        reports.wait_for("said").await.resume().await;
        let ready = words(&mut events, "3 users").await;
        assert_eq!(ready.state, State::Ready);
        reports.wait_for("said").await.resume().await;
        status(&mut events, |status| status.progress.is_none()).await;
        reports.wait_for("said").await.resume().await;
        let stop = supervisor.stop();
        let stopping = async {
            let mut sidecar = reports.wait_for("said").await;
            let stopping = words(&mut events, "saving").await;
            assert_eq!(stopping.state, State::Stopping);
            sidecar.resume().await;
        };
        let _ = tokio::join!(stop, stopping);
        assert_eq!(supervisor.status().progress, None, "the process is gone");
    });
}

#[test]
fn the_words_of_a_crashed_process_do_not_outlive_it() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) =
            Supervisor::start(tree.sidecar("out BACKEND_STATUS:migrating\\n exit 3"));
        let failed = state(&mut events, State::Failed).await;
        assert_eq!(failed.progress, None);
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::ExitedEarly, &["its last progress was \"migrating\""]);
    });
}

#[test]
fn a_flood_of_progress_causes_few_statuses() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen ok announce report {} up wait progress 300000 term", reports.port());
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps));
        supervisor.ready().await.unwrap();
        let start = std::time::Instant::now();
        reports.wait_for("up").await.resume().await;
        let mut changes = 0_u32;
        first(&mut events, |event| match event {
            SidecarEvent::Status(status) => {
                changes += u32::from(status.progress.is_some());
                (status.progress.as_deref() == Some("299999")).then_some(())
            }
            _ => None,
        })
        .await;
        // The last words come within the interval after the flood.
        let allowed = 2 + u32::try_from(start.elapsed().as_millis() / 250).unwrap();
        assert!(changes <= allowed, "{changes} statuses within {:?}", start.elapsed());
        let _ = supervisor.stop().await;
    });
}

#[test]
fn an_expired_start_names_the_last_progress_and_how_it_gets_more_time() {
    run(async {
        let tree = tree();
        let steps = "out BACKEND_STATUS:1%\\n out BACKEND_STATUS:2%\\n park";
        let parts = ["its last progress was \"2%\"", "set `readyTimeoutMaxMs`"];
        expire(|| tree.sidecar(steps), &parts).await;
    });
}

#[test]
fn a_sidecar_that_goes_on_to_report_progress_ends_at_the_maximum() {
    run(async {
        let tree = tree();
        // The shortest limits within which the sidecar gets so far on this machine.
        for limit in [Duration::from_millis(300), Duration::from_secs(3), Duration::from_secs(30)] {
            let max = limit * 2 + Duration::from_millis(100);
            let spec = || -> Spec {
                tree.sidecar("progress 1000000000").ready_timeout(limit).ready_timeout_max(max)
            };
            let start = std::time::Instant::now();
            let (supervisor, _events) = Supervisor::start(spec());
            let failure = supervisor.ready().await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::ReadyTimeout, "{failure:?}");
            if failure.message.contains("raise `readyTimeoutMaxMs`") {
                assert!(start.elapsed() >= max, "{failure}");
                return;
            }
            let _ = supervisor.stop().await;
        }
        panic!("progress extends no start");
    });
}
