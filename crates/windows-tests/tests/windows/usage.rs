//! What the processes of a job use, and the limit for their memory.

use std::time::Duration;

use pillion::{FailureKind, MemoryKind, State, StopOutcome};
use windows_tests::{ReportServer, run};

use crate::support::{ready, sidecar, state};

const MIB: u64 = 1 << 20;

#[test]
fn the_usage_is_that_of_the_whole_job() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "child-no-stdin memory 40 report PORT worker wait exit 0 ; serve memory 30 report PORT leader eof exit 0";
        let (supervisor, _) = ready(sidecar(steps, &reports)).await;
        let (mut worker, leader) = (reports.wait_for("worker").await, reports.wait_for("leader").await);
        let mut watch = supervisor.usage().every(Duration::ZERO);
        let first = watch.next().await.unwrap();
        assert_eq!((first.run, first.memory_kind), (Some(1), Some(MemoryKind::Private)), "{first:?}");
        // Wine puts the host of the console, conhost.exe, into the job.
        let processes = first.processes.unwrap();
        assert!((2..=3).contains(&processes), "{first:?}");
        assert!(first.memory.unwrap() >= 70 * MIB, "{first:?}");
        assert!(first.cpu_time_ms.is_some() && first.descriptors.is_some(), "{first:?}");
        let second = watch.next().await.unwrap();
        assert!(second.at > first.at && second.cpu_percent.is_some(), "{second:?}");

        worker.resume().await;
        let after = loop {
            let usage = watch.next().await.unwrap();
            if usage.processes == Some(processes - 1) {
                break usage;
            }
        };
        assert!(after.memory.unwrap() + 30 * MIB <= first.memory.unwrap(), "{first:?} {after:?}");
        let StopOutcome::Graceful(_) = supervisor.stop().await else { panic!("the sidecar was killed") };
        leader.wait_death().await;
    });
}

#[test]
#[ignore = "Wine 8 counts no processor time of a job"]
fn the_processor_time_and_the_handles_are_those_of_the_job() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "child-no-stdin report PORT worker wait work 300 exit 0 ; serve eof exit 0";
        let (supervisor, _) = ready(sidecar(steps, &reports)).await;
        let mut worker = reports.wait_for("worker").await;
        let mut watch = supervisor.usage().every(Duration::ZERO);
        let first = watch.next().await.unwrap();
        assert!(first.descriptors.unwrap() > 2, "{first:?}");
        worker.resume().await;
        worker.wait_death().await;
        // The time of a process that has ended is a part of the run's.
        let after = loop {
            let usage = watch.next().await.unwrap();
            if usage.processes < first.processes {
                break usage;
            }
        };
        assert!(after.cpu_time_ms > first.cpu_time_ms, "{first:?} {after:?}");
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_sidecar_that_reaches_its_memory_limit_is_stopped() {
    run(async {
        let reports = ReportServer::new().await;
        // The memory is that of a child.
        let steps = "child memory 64 report PORT worker park ; serve report PORT leader eof exit 0";
        let (supervisor, mut events) = ready(sidecar(steps, &reports).max_memory(48 * MIB)).await;
        let (worker, leader) = (reports.wait_for("worker").await, reports.wait_for("leader").await);
        let failure = state(&mut events, State::Stopping).await.failure.unwrap();
        assert_eq!(failure.kind, FailureKind::MemoryLimit);
        assert!(failure.message.contains("48 MiB"), "{}", failure.message);
        leader.wait_death().await;
        // It ignores the request to end: the kill ends it.
        let _ = supervisor.kill().await;
        worker.wait_death().await;
        drop(supervisor);
    });
}
