//! Every end of a run has a report: why it ended, on whose order, and what it had used.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc, time::Duration};

use integration_tests::{ProcessTree, ReportServer, run};
use pillion::{
    EndReason, Events, Exit, ExitReport, Fleet, KillReason, Restart, SidecarEvent, State, Supervisor,
};

use crate::support::{first, notice, state, tree};

/// Waits for the next report.
async fn ended(events: &mut Events) -> Arc<ExitReport> {
    first(events, |event| match event {
        SidecarEvent::Ended(report) => Some(report),
        _ => None,
    })
    .await
}

/// The report of a sidecar that takes these steps and ends by itself, after it was ready if it announces a port.
async fn report_of(tree: &ProcessTree, steps: &str) -> Arc<ExitReport> {
    let (supervisor, mut events) = Supervisor::start(tree.sidecar(steps).grace(Duration::MAX));
    let report = ended(&mut events).await;
    assert_eq!(supervisor.exit_reports().await, [ExitReport::clone(&report)]);
    report
}

/// The system counts the memory of this program for the process of the sidecar, which begins in it.
#[test]
fn the_peak_of_a_stopped_sidecar_is_its_own_and_not_that_of_the_app() {
    run(async {
        // Each page is written, so that it is resident.
        let memory = vec![1_u8; 300 << 20];
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.sidecar("memory 40 listen ok announce term exit 0"));
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
        let peak = supervisor.exit_reports().await[0].peak_memory.unwrap();
        assert!((40 << 20..200 << 20).contains(&peak), "{peak}");
        assert!(memory.iter().all(|byte| *byte == 1));
    });
}

#[test]
fn a_report_says_how_a_run_ended_and_what_it_had_used() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!(
            "listen ok announce out one\\ntwo\\n err why\\n fork memory 200 cpu 200 exit 0 ; reap report {} up wait raise 9",
            reports.port()
        );
        let (supervisor, mut events) = Supervisor::start(tree.sidecar(&steps));
        let endpoint = supervisor.ready().await.unwrap();
        state(&mut events, State::Ready).await;
        reports.wait_for("up").await.resume().await;
        let report = ended(&mut events).await;
        assert_eq!((&*report.sidecar, report.run, report.pid), ("sidecar", 1, endpoint.pid));
        assert_eq!((report.reason, report.exit), (EndReason::Crashed, Some(Exit::with_signal(9))));
        assert_eq!((report.core_dumped, report.killed, report.restarts), (Some(false), None, 0));
        assert_eq!(report.message.as_deref(), Some("sidecar was killed by SIGKILL while it was in use"));
        let port = endpoint.port.unwrap();
        assert_eq!(report.stdout, [format!("BACKEND_PORT:{port}"), "one".to_owned(), "two".to_owned()]);
        assert_eq!(report.stderr, ["why"]);
        let (lifetime, ready) = (report.lifetime_ms.unwrap(), report.ready_after_ms.unwrap());
        assert!(lifetime >= ready && report.ended_at.unwrap() >= report.started_at, "{report:?}");
        // More than this process, whose memory counts. The child has used both, and the leader has only reaped it.
        assert!(report.cpu_time_ms.unwrap() >= 190 && report.peak_memory.unwrap() >= 200 << 20, "{report:?}");
        // It comes before the status that follows the end.
        let down = state(&mut events, State::Failed).await;
        assert_eq!(down.exit, report.exit);
        assert_eq!(supervisor.exit_reports().await, [ExitReport::clone(&report)]);
    });
}

#[test]
fn the_reason_says_on_whose_order_a_run_ended() {
    run(async {
        let tree = tree();
        let steps = "listen ok announce term exit 0";
        let start = || async {
            let (supervisor, events) = Supervisor::start(tree.sidecar(steps));
            supervisor.ready().await.unwrap();
            (supervisor, events)
        };
        let (supervisor, mut events) = start().await;
        supervisor.restart().await.unwrap();
        assert_eq!(ended(&mut events).await.reason, EndReason::Restart);
        supervisor.swap().await.unwrap();
        let swapped = ended(&mut events).await;
        assert_eq!((swapped.reason, swapped.run), (EndReason::Swap, 2));
        let _ = supervisor.stop().await;
        let stopped = ended(&mut events).await;
        assert_eq!(
            (stopped.reason, stopped.run, stopped.exit),
            (EndReason::Stop, 3, Some(Exit::with_code(0)))
        );
        assert!(!stopped.is_notable());
        let runs: Vec<_> = supervisor.exit_reports().await.iter().map(|report| report.run).collect();
        assert_eq!(runs, [1, 2, 3]);

        let (supervisor, mut events) = start().await;
        let _ = supervisor.kill().await;
        let killed = ended(&mut events).await;
        assert_eq!((killed.reason, killed.exit), (EndReason::Kill, Some(Exit::with_signal(9))));
        assert_eq!(killed.killed.map(|killed| killed.why), Some(KillReason::Requested));

        let (supervisor, mut events) = start().await;
        let _ = supervisor.close().await;
        assert_eq!(ended(&mut events).await.reason, EndReason::AppEnd);
        let (supervisor, mut events) = start().await;
        drop(supervisor);
        assert_eq!(ended(&mut events).await.reason, EndReason::AppEnd);

        let fleet = Fleet::start([tree.sidecar(steps)]).unwrap();
        let sidecar = fleet.get("sidecar").unwrap();
        sidecar.ready().await.unwrap();
        fleet.stop_while(async { Ok::<_, ()>(()) }).await.unwrap();
        assert_eq!(sidecar.exit_reports().await[0].reason, EndReason::Update);
    });
}

#[test]
fn the_reason_says_why_a_run_ended_by_itself_or_had_to_end() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let early = report_of(&tree, "err oh\\n exit 3").await;
        assert_eq!((early.reason, early.exit), (EndReason::ExitedEarly, Some(Exit::with_code(3))));
        assert_eq!((early.ready_after_ms, early.stderr.as_slice()), (None, ["oh".to_owned()].as_slice()));
        let (_slow, mut events) =
            Supervisor::start(tree.sidecar("park").ready_timeout(Duration::from_millis(200)));
        let late = ended(&mut events).await;
        assert_eq!(late.reason, EndReason::ReadyTimeout);
        assert!(late.summary().contains("announced no port within 200 ms"), "{}", late.summary());
        let steps = format!("listen ok announce report {} up wait exit 0", reports.port());
        let (_finishes, mut events) = Supervisor::start(tree.sidecar(&steps));
        state(&mut events, State::Ready).await;
        reports.wait_for("up").await.resume().await;
        assert_eq!(ended(&mut events).await.reason, EndReason::Finished);
    });
}

#[test]
fn what_outlived_the_first_process_and_had_to_be_killed_is_reported() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        let steps = format!(
            "fork ignore-term report {port} there park ; report {port} up wait listen ok announce term exit 0"
        );
        let spec = tree.sidecar(&steps).grace(Duration::from_millis(200));
        let (supervisor, mut events) = Supervisor::start(spec);
        let (one, two) = (reports.next().await, reports.next().await);
        let mut leader = if one.text == "up" { one } else { two };
        leader.resume().await;
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
        let report = ended(&mut events).await;
        let killed = report.killed.unwrap();
        assert_eq!((killed.why, killed.leader, killed.survived), (KillReason::GraceOver, false, false));
        assert!(report.left.len() == 1 && report.left[0].starts_with("fake-sidecar, process "), "{report:?}");
        assert!(report.is_notable(), "{report:?}");
    });
}

#[test]
fn restarts_are_counted() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen ok announce report {} up wait exit 9", reports.port());
        let spec = tree.sidecar(&steps).restart(Restart::OnFailure);
        let (supervisor, mut events) = Supervisor::start(spec);
        for run in 1..=3 {
            let mut sidecar = reports.wait_for("up").await;
            supervisor.ready().await.unwrap();
            sidecar.resume().await;
            let report = ended(&mut events).await;
            assert_eq!((report.run, report.restarts), (run, u32::try_from(run).unwrap() - 1));
        }
        let _ = supervisor.stop().await;
    });
}

#[test]
fn the_files_outlive_the_supervisor() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let kept = || tree.sidecar("out kept\\n exit 3").keep_exit_reports(folder.path());
        let (supervisor, _) = Supervisor::start(kept());
        supervisor.ready().await.unwrap_err();
        let _ = supervisor.close().await;
        let files: Vec<_> =
            fs::read_dir(folder.path().join("sidecar")).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1, "no file of the run is left: {files:?}");
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(files[0].path()).unwrap();
        assert!(text.contains("\"kept\""), "{text}");
        // Another supervisor, as after a new start of the app, has the report of the one before, and its own.
        let (later, _) = Supervisor::start(kept());
        later.ready().await.unwrap_err();
        let _ = later.close().await;
        let reports = later.exit_reports().await;
        assert_eq!(reports.len(), 2, "{reports:?}");
        assert!(reports[0].started_at <= reports[1].started_at);
    });
}

#[test]
fn a_token_that_the_sidecar_prints_is_not_in_its_report() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let program =
            tree.fake("env PILLION_TOKEN err in\\sthe\\smiddle\\n env PILLION_TOKEN exit 3").private(true);
        let spec = tree.spec(program).keep_exit_reports(folder.path());
        let (supervisor, mut events) = Supervisor::start(spec);
        let printed = first(&mut events, |event| match event {
            SidecarEvent::Output(batch) => {
                batch.lines().map(|line| line.text()).find(|line| line.contains('='))
            }
            _ => None,
        })
        .await;
        let token = printed.split_once('=').unwrap().1.to_owned();
        assert!(token.len() >= 32, "{token:?}");
        let report = ended(&mut events).await;
        let _ = supervisor.close().await;
        assert_eq!(report.stdout, ["PILLION_TOKEN=[token]", "PILLION_TOKEN=[token]"]);
        for entry in fs::read_dir(folder.path().join("sidecar")).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(!text.contains(&token) && text.contains("in the middle"), "{text}");
        }
        assert!(!format!("{report:?}{}", report.summary()).contains(&token));
    });
}

#[test]
fn a_folder_that_cannot_be_written_is_a_notice_and_nothing_else() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let spec = tree.sidecar("listen ok announce term exit 0").keep_exit_reports(&file);
        let (supervisor, mut events) = Supervisor::start(spec);
        let text = notice(&mut events).await;
        assert!(
            text.contains("its exit report is kept only in memory") && text.contains("file/sidecar"),
            "{text}"
        );
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
        assert_eq!(supervisor.exit_reports().await.len(), 1);
    });
}
