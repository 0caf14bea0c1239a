//! The grace period of a sidecar whose app was killed, and the cost of a guard.

use std::{
    fs,
    time::{Duration, Instant},
};

use integration_tests::{ReportServer, TEST_TIMEOUT, run};

use crate::support::{FakeHost, HOUR, fake_sidecar};

#[test]
fn a_checkpoint_is_finished_after_the_app_was_killed() {
    run(async {
        let reports = ReportServer::new().await;
        let port = reports.port();
        let steps =
            format!("listen ok announce term report {port} checkpoint wait report {port} done exit 0");
        let mut host = FakeHost::ready(&reports, HOUR, &steps).await;
        host.kill().await;
        let mut sidecar = reports.wait_for("checkpoint").await;
        // Only the sidecar and its guard are left: the app is dead and reaped.
        assert_eq!(host.tree.alive().len(), 2, "{:?}", host.tree.alive());
        sidecar.resume().await;
        reports.wait_for("done").await;
        sidecar.wait_death().await;
    });
}

#[test]
fn a_checkpoint_without_end_is_killed_at_the_deadline() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = format!("listen ok announce term report {} checkpoint park", reports.port());
        // Long enough for the report.
        let grace = Duration::from_secs(3);
        let mut host = FakeHost::ready(&reports, grace, &steps).await;
        // The time that passes here is the condition itself: the grace period starts with the app's death, not before.
        tokio::time::sleep(grace).await;
        let killed = Instant::now();
        host.kill().await;
        reports.wait_for("checkpoint").await.wait_death().await;
        let took = killed.elapsed();
        assert!(took >= grace && took < grace + TEST_TIMEOUT / 2, "{took:?}");
    });
}

#[test]
fn two_copies_of_the_app_do_not_disturb_each_other() {
    run(async {
        let reports = ReportServer::new().await;
        let mut one = FakeHost::ready(&reports, HOUR, "listen ok announce term exit 0").await;
        let others = ReportServer::new().await;
        let port = others.port();
        let steps = format!("listen ok announce report {port} other wait report {port} unharmed term exit 0");
        let mut other = FakeHost::ready(&reports, HOUR, &steps).await;
        let mut unharmed = others.wait_for("other").await;
        let died = one.tree.alive();
        one.kill().await;
        let deadline = Instant::now() + TEST_TIMEOUT / 2;
        assert!(died.iter().all(|process| process.ends_before(deadline)), "{died:?}");
        assert_eq!(other.tree.alive().len(), 3, "{:?}", other.tree.alive());
        unharmed.resume().await;
        others.wait_for("unharmed").await;
        other.kill().await;
    });
}

#[test]
fn a_guard_uses_less_than_150_kib() {
    run(async {
        let reports = ReportServer::new().await;
        let mut host = FakeHost::ready(&reports, HOUR, "listen ok announce term exit 0").await;
        let guard = host.tree.alive().into_iter().find(integration_tests::LiveProcess::is_guard).unwrap();
        // The proportional set size counts a share of each page that several processes use (proc_pid_smaps(5)).
        let memory = fs::read_to_string(format!("/proc/{}/smaps_rollup", guard.pid)).unwrap();
        let share = memory.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        let kilobytes: u32 = share.trim().trim_end_matches(" kB").parse().unwrap();
        eprintln!("a guard has a proportional set size of {kilobytes} kB");
        // Elsewhere there is no light guard.
        let limit = if cfg!(target_arch = "x86_64") { 150 } else { 1024 };
        assert!((1..limit).contains(&kilobytes), "{kilobytes} kB");
        host.kill().await;
    });
}

#[test]
fn a_process_that_is_orphaned_during_the_stop_is_asked_to_stop_too() {
    run(async {
        let reports = ReportServer::new().await;
        let port = reports.port();
        // The daemon stays the sidecar's child until the sidecar has ended. The guard cannot see it before.
        let steps = format!(
            "subreaper daemon report {port} up term report {port} bye wait exit 0 ; \
             listen ok report {port} up announce term exit 0"
        );
        let mut host = FakeHost::start(&reports, HOUR, None, &fake_sidecar(&steps));
        let mut all = Vec::new();
        while all.len() < 3 {
            all.push(reports.next().await);
        }
        host.kill().await;
        let mut daemon = reports.wait_for("bye").await;
        assert_eq!(host.tree.sidecars().len(), 1, "{:?}", host.tree.sidecars());
        daemon.resume().await;
        daemon.wait_death().await;
    });
}

/// The kernel cuts the name of a process after 15 bytes, which may be in the middle of a character (`PR_SET_NAME(2const)`).
#[test]
fn a_daemon_whose_name_is_not_utf_8_is_asked_to_stop_too() {
    run(async {
        let reports = ReportServer::new().await;
        let daemons = ReportServer::new().await;
        let daemon = "import os, socket, sys
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
open('/proc/self/comm', 'wb').write(b'caf\\xc3')
test = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
test.sendall(b'up\\n')
test.recv(1)";
        let script = r#"python3 -c "$1" "$0"; exec "$FAKE" listen ok announce term exit 0"#;
        let program = ["sh", "-c", script, &daemons.port().to_string(), daemon].map(str::to_owned);
        let mut host = FakeHost::ready_with(&reports, HOUR, None, &program).await;
        let daemon = daemons.wait_for("up").await;
        host.kill().await;
        daemon.wait_death().await;
    });
}
