//! What the sidecar of a killed app may count on, and what a guard costs.

use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use integration_tests::{Mark, Tree, Witness, orphans::Scenario, run};
use tokio::process::{Child, Command};

use crate::support::programs;

const HOUR: Duration = Duration::from_secs(3600);

/// A `fake-host`, which tells `host` once its sidecar is ready, and waits to be killed.
struct Host {
    tree: Tree,
    child: Child,
}

impl Host {
    async fn ready(witness: &Witness, grace: Duration, steps: &str) -> Self {
        let host = Self::start(witness, grace, steps);
        witness.hear("host").await;
        host
    }

    #[expect(clippy::disallowed_methods, reason = "the tree watches over it")]
    fn start(witness: &Witness, grace: Duration, steps: &str) -> Self {
        let programs = programs();
        let tree = Tree::new(&programs.sidecar);
        let child = Command::new(&programs.host)
            .args([grace.as_millis().to_string(), witness.port().to_string()])
            .args(["ready", "park"])
            .arg(&programs.sidecar)
            .args(steps.split_ascii_whitespace())
            .env(Mark::VARIABLE, tree.mark())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { tree, child }
    }
}

#[test]
fn a_checkpoint_is_finished_after_the_app_was_killed() {
    run(async {
        let witness = Witness::new().await;
        let port = witness.port();
        let steps = format!("listen ok announce term tell {port} checkpoint hear tell {port} done exit 0");
        let mut host = Host::ready(&witness, HOUR, &steps).await;
        host.child.kill().await.unwrap();
        let mut sidecar = witness.hear("checkpoint").await;
        // Nobody but the sidecar and its guard is left: the app is gone, and was waited for.
        assert_eq!(host.tree.alive().len(), 2, "{:?}", host.tree.alive());
        sidecar.go_on().await;
        witness.hear("done").await;
        sidecar.death().await;
    });
}

#[test]
fn a_checkpoint_that_never_ends_is_cut_short_at_the_deadline() {
    run(async {
        let witness = Witness::new().await;
        let steps = format!("listen ok announce term tell {} checkpoint park", witness.port());
        let grace = Duration::from_millis(400);
        let mut host = Host::ready(&witness, grace, &steps).await;
        let killed = Instant::now();
        host.child.kill().await.unwrap();
        witness.hear("checkpoint").await.death().await;
        let took = killed.elapsed();
        assert!(took >= grace && took < grace + Scenario::LIMIT, "{took:?}");
    });
}

#[test]
fn two_copies_of_the_app_leave_each_other_alone() {
    run(async {
        let witness = Witness::new().await;
        let mut one = Host::ready(&witness, HOUR, "listen ok announce term exit 0").await;
        let others = Witness::new().await;
        let port = others.port();
        let steps = format!("listen ok announce tell {port} other hear tell {port} unharmed term exit 0");
        let mut other = Host::ready(&witness, HOUR, &steps).await;
        let mut unharmed = others.hear("other").await;
        let died = one.tree.alive();
        one.child.kill().await.unwrap();
        let deadline = Instant::now() + Scenario::LIMIT;
        assert!(died.iter().all(|process| process.ends_before(deadline)), "{died:?}");
        assert_eq!(other.tree.alive().len(), 3, "{:?}", other.tree.alive());
        unharmed.go_on().await;
        others.hear("unharmed").await;
        other.child.kill().await.unwrap();
    });
}

#[test]
fn a_guard_takes_less_than_a_megabyte() {
    run(async {
        let witness = Witness::new().await;
        let mut host = Host::ready(&witness, HOUR, "listen ok announce term exit 0").await;
        let guard = host.tree.alive().into_iter().find(integration_tests::Living::is_guard).unwrap();
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
        let witness = Witness::new().await;
        let port = witness.port();
        // The daemon is the sidecar's child until that is gone, and so out of the guard's sight when it asks.
        let steps = format!(
            "subreaper daemon tell {port} up term tell {port} bye hear exit 0 ; \
             listen ok tell {port} up announce term exit 0"
        );
        let mut host = Host::start(&witness, HOUR, &steps);
        let mut all = Vec::new();
        while all.len() < 3 {
            all.push(witness.next().await);
        }
        host.child.kill().await.unwrap();
        let mut daemon = witness.hear("bye").await;
        assert_eq!(host.tree.sidecars().len(), 1, "{:?}", host.tree.sidecars());
        daemon.go_on().await;
        daemon.death().await;
    });
}
