//! What the sidecar of a killed app may count on, and what a guard costs.

use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use integration_tests::{ProcessMarker, ProcessTree, ReportServer, orphans::Scenario, run};
use tokio::process::{Child, Command};

use crate::support::programs;

const HOUR: Duration = Duration::from_secs(3600);

/// A `fake-host`, which tells `host` once its sidecar is ready, and waits to be killed.
struct Host {
    tree: ProcessTree,
    child: Child,
}

impl Host {
    async fn ready(reports: &ReportServer, grace: Duration, steps: &str) -> Self {
        let host = Self::start(reports, grace, steps);
        reports.wait_for("host").await;
        host
    }

    #[expect(clippy::disallowed_methods, reason = "the tree watches over it")]
    fn start(reports: &ReportServer, grace: Duration, steps: &str) -> Self {
        let programs = programs();
        let tree = ProcessTree::new(&programs.sidecar);
        let child = Command::new(&programs.host)
            .args([grace.as_millis().to_string(), reports.port().to_string()])
            .args(["ready", "park"])
            .arg(&programs.sidecar)
            .args(steps.split_ascii_whitespace())
            .env(ProcessMarker::VARIABLE, tree.marker())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { tree, child }
    }
}

#[test]
fn a_checkpoint_is_finished_after_the_app_was_killed() {
    run(async {
        let reports = ReportServer::new().await;
        let port = reports.port();
        let steps =
            format!("listen ok announce term report {port} checkpoint wait report {port} done exit 0");
        let mut host = Host::ready(&reports, HOUR, &steps).await;
        host.child.kill().await.unwrap();
        let mut sidecar = reports.wait_for("checkpoint").await;
        // Nobody but the sidecar and its guard is left: the app is gone, and was waited for.
        assert_eq!(host.tree.alive().len(), 2, "{:?}", host.tree.alive());
        sidecar.resume().await;
        reports.wait_for("done").await;
        sidecar.wait_death().await;
    });
}

#[test]
fn a_checkpoint_that_never_ends_is_cut_short_at_the_deadline() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = format!("listen ok announce term report {} checkpoint park", reports.port());
        let grace = Duration::from_millis(400);
        let mut host = Host::ready(&reports, grace, &steps).await;
        let killed = Instant::now();
        host.child.kill().await.unwrap();
        reports.wait_for("checkpoint").await.wait_death().await;
        let took = killed.elapsed();
        assert!(took >= grace && took < grace + Scenario::LIMIT, "{took:?}");
    });
}

#[test]
fn two_copies_of_the_app_leave_each_other_alone() {
    run(async {
        let reports = ReportServer::new().await;
        let mut one = Host::ready(&reports, HOUR, "listen ok announce term exit 0").await;
        let others = ReportServer::new().await;
        let port = others.port();
        let steps = format!("listen ok announce report {port} other wait report {port} unharmed term exit 0");
        let mut other = Host::ready(&reports, HOUR, &steps).await;
        let mut unharmed = others.wait_for("other").await;
        let died = one.tree.alive();
        one.child.kill().await.unwrap();
        let deadline = Instant::now() + Scenario::LIMIT;
        assert!(died.iter().all(|process| process.ends_before(deadline)), "{died:?}");
        assert_eq!(other.tree.alive().len(), 3, "{:?}", other.tree.alive());
        unharmed.resume().await;
        others.wait_for("unharmed").await;
        other.child.kill().await.unwrap();
    });
}

#[test]
fn a_guard_takes_less_than_a_megabyte() {
    run(async {
        let reports = ReportServer::new().await;
        let mut host = Host::ready(&reports, HOUR, "listen ok announce term exit 0").await;
        let guard = host.tree.alive().into_iter().find(integration_tests::LiveProcess::is_guard).unwrap();
        // The proportional share of pages that several processes use (proc_pid_smaps(5)).
        let memory = fs::read_to_string(format!("/proc/{}/smaps_rollup", guard.pid)).unwrap();
        let share = memory.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        let kilobytes: u32 = share.trim().trim_end_matches(" kB").parse().unwrap();
        eprintln!("a guard has a proportional share of {kilobytes} kB");
        assert!((1..1024).contains(&kilobytes), "{kilobytes} kB");
        host.child.kill().await.unwrap();
    });
}

#[test]
fn who_is_orphaned_while_the_sidecar_stops_is_asked_too() {
    run(async {
        let reports = ReportServer::new().await;
        let port = reports.port();
        // The daemon is the sidecar's child until that is gone, and so out of the guard's sight when it asks.
        let steps = format!(
            "subreaper daemon report {port} up term report {port} bye wait exit 0 ; \
             listen ok report {port} up announce term exit 0"
        );
        let mut host = Host::start(&reports, HOUR, &steps);
        let mut all = Vec::new();
        while all.len() < 3 {
            all.push(reports.next().await);
        }
        host.child.kill().await.unwrap();
        let mut daemon = reports.wait_for("bye").await;
        assert_eq!(host.tree.sidecars().len(), 1, "{:?}", host.tree.sidecars());
        daemon.resume().await;
        daemon.wait_death().await;
    });
}
