//! Ctrl-C and the other signals that end a program.

use integration_tests::{ReportServer, run};
use rustix::process::Signal;

use crate::{
    streams::until_ready,
    support::{Pillion, tree},
};

#[test]
fn each_terminating_signal_stops_gracefully() {
    run(async {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
            let (tree, reports) = (tree(), ReportServer::new().await);
            let steps =
                format!("listen ok announce term report {} stopping wait out bye\\n exit 4", reports.port());
            let mut pillion = Pillion::run(&tree, "--grace 1h", &steps);
            until_ready(&mut pillion, "").await;
            pillion.signal(signal);
            reports.wait_for("stopping").await.resume().await;
            let ended = pillion.end().await;
            assert_eq!(ended.status, 4, "{signal:?}: {}", ended.stderr);
            assert!(ended.stdout.ends_with(b"\nbye\n"), "{signal:?}");
            assert!(ended.stderr.contains("fake-sidecar is stopping: asked to stop"), "{}", ended.stderr);
            tree.assert_dead();
        }
    });
}

#[test]
fn a_second_signal_kills() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        let steps = format!(
            "fork ignore-term report {port} up park ; listen ok announce term report {port} stopping park"
        );
        let mut pillion = Pillion::run(&tree, "--grace 1h", &steps);
        let grandchild = reports.wait_for("up").await;
        until_ready(&mut pillion, "").await;
        pillion.signal(Signal::INT);
        let sidecar = reports.wait_for("stopping").await;
        pillion.signal(Signal::INT);
        let ended = pillion.end().await;
        assert_eq!(ended.status, 137, "{}", ended.stderr);
        tree.assert_dead();
        sidecar.wait_death().await;
        grandchild.wait_death().await;
    });
}

/// timeout(1) signals its child and then its own process group, and the child belongs to both.
#[test]
fn a_request_to_end_that_comes_twice_stops_gracefully() {
    run(async {
        for signal in [Signal::TERM, Signal::HUP] {
            let (tree, reports) = (tree(), ReportServer::new().await);
            // A kill takes effect while it still has much to tell.
            let rounds: Vec<_> = (0..100).map(|round| format!("round-{round}")).collect();
            let port = reports.port();
            let told: String = rounds.iter().map(|round| format!(" report {port} {round} wait")).collect();
            let steps = format!("listen ok announce term report {port} stopping wait{told} exit 4");
            let mut pillion = Pillion::run(&tree, "--grace 1h", &steps);
            until_ready(&mut pillion, "").await;
            pillion.signal(signal);
            let mut sidecar = reports.wait_for("stopping").await;
            pillion.signal(signal);
            sidecar.resume().await;
            let mut death = std::pin::pin!(sidecar.wait_death());
            for round in &rounds {
                tokio::select! {
                    mut told = reports.wait_for(round) => told.resume().await,
                    () = &mut death => panic!("the sidecar was killed before {round}"),
                }
            }
            let ended = pillion.end().await;
            assert_eq!(ended.status, 4, "{signal:?}: {}", ended.stderr);
            tree.assert_dead();
        }
    });
}

#[test]
fn a_start_can_be_interrupted() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let pillion = Pillion::run(&tree, "--grace 1h", &format!("report {} up park", reports.port()));
        let sidecar = reports.wait_for("up").await;
        pillion.signal(Signal::INT);
        let ended = pillion.end().await;
        assert_eq!(ended.status, 128 + 15, "{}", ended.stderr);
        sidecar.wait_death().await;
        tree.assert_dead();
    });
}

#[test]
fn a_program_that_ignores_the_stop_is_killed_after_the_grace_period() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("ignore-term listen ok announce report {} up park", reports.port());
        let mut pillion = Pillion::run(&tree, "--grace 100ms", &steps);
        let sidecar = reports.wait_for("up").await;
        until_ready(&mut pillion, "").await;
        pillion.signal(Signal::TERM);
        let ended = pillion.end().await;
        assert_eq!(ended.status, 137, "{}", ended.stderr);
        assert!(ended.stderr.contains("was killed by SIGKILL: it did not end by itself"), "{}", ended.stderr);
        sidecar.wait_death().await;
    });
}

#[test]
fn a_signal_that_the_caller_ignores_stays_ignored() {
    run(async {
        for (signal, name) in
            [(Signal::HUP, "HUP"), (Signal::INT, "INT"), (Signal::QUIT, "QUIT"), (Signal::TERM, "TERM")]
        {
            let (tree, reports) = (tree(), ReportServer::new().await);
            let steps =
                format!("listen ok announce term report {} stopping wait out bye\\n exit 4", reports.port());
            let mut pillion = Pillion::run_ignoring(&tree, name, "--grace 1h", &steps);
            until_ready(&mut pillion, "").await;
            // An ignored signal is discarded. Otherwise the next signal would be the second one, which kills.
            pillion.signal(signal);
            pillion.signal(if signal == Signal::TERM { Signal::INT } else { Signal::TERM });
            reports.wait_for("stopping").await.resume().await;
            let ended = pillion.end().await;
            assert_eq!(ended.status, 4, "{name}: {}", ended.stderr);
            assert!(ended.stdout.ends_with(b"\nbye\n"), "{name}");
            tree.assert_dead();
        }
    });
}

/// A process that ignores SIGCHLD does not learn how its children end (wait(2)), and what is ignored or blocked stays so for the program
/// that it executes (execve(2)).
#[test]
fn a_caller_that_ignores_the_death_of_children_changes_nothing_for_guard_and_program() {
    run(async {
        let tree = tree();
        let mut pillion =
            Pillion::run_ignoring(&tree, "CHLD", "--grace 1h", "listen ok announce term exit 4");
        until_ready(&mut pillion, "").await;
        let sidecar = tree.alive().into_iter().find(|process| process.runs("fake-sidecar")).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", sidecar.pid)).unwrap();
        for name in ["SigBlk:\t", "SigIgn:\t"] {
            let set = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            let set = u64::from_str_radix(set, 16).unwrap();
            assert_eq!(set & (1 << (Signal::CHILD.as_raw() - 1)), 0, "{name}{set:x}");
        }
        pillion.signal(Signal::TERM);
        let ended = pillion.end().await;
        assert_eq!(ended.status, 4, "{}", ended.stderr);
        tree.assert_dead();
    });
}
