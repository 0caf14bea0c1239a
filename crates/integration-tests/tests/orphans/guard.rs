//! Deaths and interruptions of the guard itself.

use std::time::{Duration, Instant};

use integration_tests::{
    LiveProcess, ReportServer, TEST_TIMEOUT,
    orphans::{Death, Moment, Scenario, SidecarKind},
    run,
};

use crate::support::{FakeHost, HOUR, assert_no_survivors, fake_sidecar, programs};

#[test]
fn the_guard_is_killed() {
    assert_no_survivors(SidecarKind::ALL.map(|kind| Scenario::new(Death::GuardKilled, kind)));
}

#[test]
fn the_guard_is_killed_while_the_sidecar_starts() {
    assert_no_survivors(
        SidecarKind::ALL
            .map(|kind| Scenario { moment: Moment::Starting, ..Scenario::new(Death::GuardKilled, kind) }),
    );
}

#[test]
fn the_guard_is_frozen_when_the_app_stops_the_sidecar() {
    assert_no_survivors(SidecarKind::ALL.map(|kind| Scenario::new(Death::GuardStopped, kind)));
}

#[test]
fn the_guard_is_frozen_while_the_app_stops_the_sidecar() {
    assert_no_survivors(
        [SidecarKind::IgnoresSigterm, SidecarKind::GrandchildIgnoresSigterm, SidecarKind::Subreaper]
            .map(|kind| Scenario { moment: Moment::Stopping, ..Scenario::new(Death::GuardStopped, kind) }),
    );
}

/// Only the kernel can then continue the guard (`PR_SET_PDEATHSIG`).
#[test]
fn the_guard_is_frozen_when_the_app_is_killed() {
    assert_no_survivors(SidecarKind::ALL.map(|kind| Scenario::new(Death::HostKilledGuardStopped, kind)));
}

#[test]
fn the_guard_is_frozen_when_the_app_is_killed_while_the_sidecar_stops() {
    assert_no_survivors(SidecarKind::ALL.map(|kind| Scenario {
        moment: Moment::Stopping,
        ..Scenario::new(Death::HostKilledGuardStopped, kind)
    }));
}

/// Only the kernel can then clean up. It kills the sidecar's first process (`PR_SET_PDEATHSIG`).
#[test]
fn the_guard_is_killed_together_with_the_app() {
    let single = SidecarKind::ALL.into_iter().filter(|kind| kind.is_one_process());
    assert_no_survivors(single.map(|kind| Scenario::new(Death::GuardAndHostKilled, kind)));
}

/// The known cases with survivors: the kernel kills the first process alone. They also show that these tests detect survivors.
/// A fork storm is left out, because its number of processes changes.
#[test]
fn guard_and_app_killed_together_leave_descendants_that_do_not_notice_the_end_of_their_parent() {
    for (kind, count) in [
        (SidecarKind::GrandchildIgnoresSigterm, 1),
        (SidecarKind::Wrapper, 1),
        (SidecarKind::Daemon, 1),
        (SidecarKind::Subreaper, 1),
        (SidecarKind::LeaderExited, 1),
        // Its stdin comes from its parent, and it ends with it.
        (SidecarKind::WorkerPool, 0),
        (SidecarKind::UnmarkedGrandchild, 1),
    ] {
        run(async {
            let scenario = Scenario::new(Death::GuardAndHostKilled, kind);
            let scenario = Scenario { limit: Scenario::SHORT_LIMIT, ..scenario };
            let outcome = scenario.run(&programs()).await.unwrap();
            assert_eq!(outcome.survivors.len(), count, "{kind:?}: {outcome:?}");
        });
    }
}

#[test]
fn a_guard_is_light_until_there_is_more_to_do() {
    run(async {
        let (reports, sidecars) = (ReportServer::new().await, ReportServer::new().await);
        let steps =
            format!("ignore-term listen ok announce eof report {} asked wait exit 7", sidecars.port());
        let mut host = FakeHost::ready(&reports, HOUR, &steps).await;
        let guard = |host: &FakeHost| host.tree.alive().into_iter().find(LiveProcess::is_guard).unwrap();
        let light = guard(&host);
        // Elsewhere there is no light guard.
        assert_eq!(light.is_light_guard(), cfg!(target_arch = "x86_64"), "{light:?}");
        host.kill().await;
        // The guard ends the sidecar's stdin when it has taken over.
        let mut asked = sidecars.wait_for("asked").await;
        let full = guard(&host);
        assert!(full.pid == light.pid && !full.is_light_guard(), "{full:?}");
        asked.resume().await;
        asked.wait_death().await;
        assert!(full.ends_before(Instant::now() + TEST_TIMEOUT / 2));
    });
}

/// A process of the sidecar traces the first one, and stops it at its end (`PTRACE_O_TRACEEXIT`, ptrace(2)): a kill does not end the first
/// one until its tracer has ended, which is the child of it and not of the guard. A process that a file system holds is like that.
const HELD_LEADER: &str = "
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PR_SET_PTRACER, PTRACE_SEIZE, PTRACE_O_TRACEEXIT = 0x59616d61, 0x4206, 0x40
libc.prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
(told, tell), leader = os.pipe(), os.getpid()
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert libc.ptrace(PTRACE_SEIZE, leader, None, PTRACE_O_TRACEEXIT) == 0, ctypes.get_errno()
    os.write(tell, b'!')
    while True: signal.pause()
os.read(told, 1)
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn the_descendants_of_a_process_that_a_kill_does_not_end_are_killed() {
    run(async {
        let reports = ReportServer::new().await;
        let python = ["python3", "-c", HELD_LEADER].map(str::to_owned).into_iter();
        let program: Vec<_> = python.chain(fake_sidecar("listen ok announce park")).collect();
        let mut host = FakeHost::ready_with(&reports, Duration::ZERO, None, &program).await;
        let all = host.tree.alive();
        host.kill().await;
        let deadline = Instant::now() + TEST_TIMEOUT / 2;
        assert!(all.iter().all(|process| process.ends_before(deadline)), "{:?}", host.tree.alive());
    });
}

/// A process that the app has forked, and that executes nothing, has copies of all its descriptors. Here the test takes them.
#[test]
fn a_killed_app_whose_descriptors_another_process_holds_leaves_no_process() {
    // Without a second process, the guard is a light one.
    for second in ["", "fork park ;"] {
        run(async {
            let reports = ReportServer::new().await;
            let mut host =
                FakeHost::ready(&reports, HOUR, &format!("{second} listen ok announce term exit 0")).await;
            let (all, copies) = (host.tree.alive(), host.copy_descriptors());
            host.kill().await;
            let deadline = Instant::now() + TEST_TIMEOUT / 2;
            assert!(all.iter().all(|process| process.ends_before(deadline)), "{:?}", host.tree.alive());
            drop(copies);
        });
    }
}
