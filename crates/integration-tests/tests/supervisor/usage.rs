//! What the processes of a sidecar use, while a reader watches.
#![cfg(target_os = "linux")]

use std::time::Duration;

use integration_tests::{ReportServer, run};
use pillion::{MemoryKind, Supervisor, Usage, UsageWatch};

use crate::support::tree;

const MIB: u64 = 1 << 20;

/// A watch of the present run with the shortest interval, and its first value.
async fn watch(supervisor: &Supervisor) -> (UsageWatch, Usage) {
    let mut watch = supervisor.usage().every(Duration::ZERO);
    let first = watch.next().await.unwrap();
    (watch, first)
}

#[test]
fn the_usage_is_that_of_the_whole_tree() {
    run(async {
        let (tree, daemons, children) = (tree(), ReportServer::new().await, ReportServer::new().await);
        let steps = format!(
            "listen ok announce cpu 100 \
             daemon memory 40 cpu 200 report {} up wait cpu 300 exit 0 ; fork memory 40 cpu 200 report {} up wait exit 0 ; eof",
            daemons.port(),
            children.port()
        );
        let (supervisor, _) = Supervisor::start(tree.sidecar(&steps));
        supervisor.ready().await.unwrap();
        let (mut daemon, child) = (daemons.wait_for("up").await, children.wait_for("up").await);
        let (mut watch, first) = watch(&supervisor).await;
        assert_eq!((first.run, first.processes, first.cpu_percent), (Some(1), Some(3), None));
        assert_eq!(first.memory_kind, Some(MemoryKind::Proportional));
        assert!(first.memory.unwrap() >= 80 * MIB, "{first:?}");
        assert!(first.cpu_time_ms.unwrap() >= 490, "{first:?}");
        // Three streams of each, and the connections.
        assert!(first.descriptors.unwrap() >= 11, "{first:?}");

        let second = watch.next().await.unwrap();
        assert!(second.at > first.at && second.cpu_percent.is_some(), "{second:?}");

        // The guard reaps the daemon, and the memory is free, but the time was used.
        daemon.resume().await;
        let after = loop {
            let usage = watch.next().await.unwrap();
            if usage.processes == Some(2) {
                break usage;
            }
        };
        assert!(after.cpu_time_ms.unwrap() >= first.cpu_time_ms.unwrap() + 90, "{first:?} {after:?}");
        assert!(after.memory.unwrap() + 30 * MIB <= first.memory.unwrap(), "{first:?} {after:?}");
        drop(child);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn watches_share_their_measurements() {
    run(async {
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.sidecar("listen ok announce eof"));
        supervisor.ready().await.unwrap();
        let mut watches: Vec<_> =
            (0..20).map(|_| supervisor.usage().every(UsageWatch::MIN_INTERVAL)).collect();
        let mut measured = Vec::new();
        for _ in 0..3 {
            for watch in &mut watches {
                measured.push(watch.next().await.unwrap().at);
            }
        }
        let first = measured[0];
        let last = *measured.last().unwrap();
        measured.dedup();
        // Each measurement begins at least half a second after the one before; the wall clock has whole milliseconds.
        assert!(measured.len() as u64 <= (last - first) / 499 + 1, "{measured:?}");
        let _ = supervisor.stop().await;
    });
}

#[test]
fn the_watch_follows_the_sidecar_through_its_runs_to_its_end() {
    run(async {
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.sidecar("listen ok announce eof"));
        supervisor.ready().await.unwrap();
        let (mut watch, first) = watch(&supervisor).await;
        // Far later than this test: only a change brings a value.
        watch = watch.every(Duration::from_secs(3600));
        let _ = watch.next().await.unwrap();
        supervisor.restart().await.unwrap();
        let second = loop {
            let usage = watch.next().await.unwrap();
            if usage.run == Some(2) {
                break usage;
            }
            // Between the runs.
            assert_eq!((usage.run, usage.processes, usage.memory), (None, None, None));
        };
        assert_eq!((first.run, second.cpu_percent, second.processes), (Some(1), None, Some(1)));
        let _ = supervisor.stop().await;
        let down = watch.next().await.unwrap();
        assert_eq!((down.run, down.cpu_time_ms, down.descriptors), (None, None, None));
        drop(supervisor);
        assert_eq!(watch.next().await, None);
    });
}
