//! The host leaks no descriptor, no zombie and no memory.

use std::{fs, time::Duration};

use integration_tests::{ReportServer, isolated, run};
use pillion::Supervisor;

use crate::support::tree;

/// The number of open descriptors of this process.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The children of every thread of this process, zombies included (`proc_tid_children(5)`).
fn children() -> String {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    threads
        .map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default())
        .collect()
}

/// The peak memory of this process in KiB (`VmHWM`, `proc_pid_status(5)`).
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

#[test]
fn starts_and_stops_leave_no_descriptor_and_no_zombie() {
    isolated("leaks::starts_and_stops_leave_no_descriptor_and_no_zombie", || {
        run(async {
            let tree = tree();
            let mut before = None;
            for round in 0..51 {
                let steps = match round % 5 {
                    0 => "listen ok announce term exit 0",
                    1 => "fork park ; listen ok announce term",
                    2 => "fork park ; exit 3",
                    3 => "raise 9",
                    _ => "listen ok announce ignore-term park",
                };
                let spec = tree.sidecar(steps).grace(Duration::from_millis(20));
                let (supervisor, mut events) = Supervisor::start(spec);
                let _ = supervisor.ready().await;
                let _ = supervisor.stop().await;
                let _ = Supervisor::start(tree.spec(tree.program("/no/such/program"))).0.ready().await;
                drop(supervisor);
                // The events end when the actor has ended and has dropped everything.
                while events.next().await.is_some() {}
                assert_eq!(children(), "", "round {round} left a child");
                // The runtime opens its own descriptors in the first round.
                let open = descriptors();
                assert_eq!(*before.get_or_insert(open), open, "round {round} left a descriptor");
            }
        });
    });
}

#[test]
fn noise_before_the_announcement_is_drained_in_bounded_memory() {
    isolated("leaks::noise_before_the_announcement_is_drained_in_bounded_memory", || {
        run(async {
            let tree = tree();
            let before = peak();
            let (supervisor, _events) =
                Supervisor::start(tree.sidecar("noise 100000000 out \\n listen ok announce term"));
            supervisor.ready().await.unwrap();
            let _ = supervisor.stop().await;
            assert!(peak() - before < 16 * 1024, "{} KiB more", peak() - before);
        });
    });
}

#[test]
fn unread_lines_of_any_length_are_kept_in_bounded_memory() {
    isolated("leaks::unread_lines_of_any_length_are_kept_in_bounded_memory", || {
        run(async {
            let tree = tree();
            let before = peak();
            // Empty lines cost most per byte, and long lines most per line.
            for line in ["", "0123456789", &"x".repeat(5000)] {
                let reports = ReportServer::new().await;
                let script = r#"yes "$0" | head -c 12000000; echo; exec "$FAKE" listen ok announce report "$1" written term"#;
                let program = tree.program("sh").args(["-c", script, line, &reports.port().to_string()]);
                let spec = tree.spec(program);
                let (supervisor, _events) = Supervisor::start(spec);
                supervisor.ready().await.unwrap();
                reports.wait_for("written").await;
                let more = peak() - before;
                assert!(more < 32 * 1024, "{more} KiB more after lines of {} bytes", line.len());
                let _ = supervisor.stop().await;
            }
        });
    });
}
