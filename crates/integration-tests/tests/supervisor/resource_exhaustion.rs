//! Odd conditions: each has an outcome that somebody chose.

use std::time::Duration;

use integration_tests::{LiveProcess, ProcessMarker, ProcessTree, TEST_TIMEOUT, isolated, run};
use pillion::{FailureKind, Liveness, Restart, State, Supervisor};
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, setrlimit};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use crate::support::{assert_failure, phase, tree};

fn process(tree: &ProcessTree, pid: Option<u32>) -> LiveProcess {
    tree.alive().into_iter().find(|process| Some(process.pid) == pid).unwrap()
}

#[test]
fn without_a_descriptor_nothing_starts_nobody_hangs_and_all_recovers() {
    isolated(
        "resource_exhaustion::without_a_descriptor_nothing_starts_nobody_hangs_and_all_recovers",
        || {
            run(async {
                let tree = tree();
                let liveness = Liveness::new(Duration::from_millis(20), 3);
                let steps = "listen ok announce term exit 0";
                let spec = |name| tree.named(name, steps).restart(Restart::OnFailure);
                let (steady, mut steady_events) = Supervisor::start(spec("steady").liveness(liveness));
                let (crashing, mut events) = Supervisor::start(spec("crashing").liveness(None));
                let (before, victim) = (steady.ready().await.unwrap(), crashing.ready().await.unwrap());
                let steady_process = process(&tree, before.pid);
                let victim = process(&tree, victim.pid);

                let limit = getrlimit(Resource::Nofile);
                setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..limit }).unwrap();
                let failure = Supervisor::start(tree.named("new", steps)).0.ready().await.unwrap_err();
                let says = ["new could not be started", "no file descriptor left"];
                assert_failure(&failure, FailureKind::Spawn, &says);
                // It is tried again four times, which takes ten times as long as the other one may be silent.
                victim.signal(Signal::KILL).unwrap();
                let down = phase(&mut events, State::Failed).await;
                let says = ["no file descriptor left", "given up after 4 restarts"];
                assert_failure(&down.failure.unwrap(), FailureKind::Spawn, &says);
                let status = steady.status();
                assert_eq!((status.pid, status.restarts), (before.pid, 0), "{status:?}");

                setrlimit(Resource::Nofile, limit).unwrap();
                crashing.restart().await.unwrap();
                steady_process.signal(Signal::STOP).unwrap();
                let down = phase(&mut steady_events, State::BackingOff).await;
                assert_failure(&down.failure.unwrap(), FailureKind::Hung, &[]);
                assert_ne!(steady.ready().await.unwrap().pid, before.pid);
                let _ = tokio::join!(steady.stop(), crashing.stop());
            });
        },
    );
}

#[test]
fn a_host_that_was_stopped_longer_than_its_patience_blames_nobody() {
    isolated("resource_exhaustion::a_host_that_was_stopped_longer_than_its_patience_blames_nobody", || {
        run(async {
            let tree = tree();
            let liveness = Liveness::new(Duration::from_millis(500), 2);
            let spec = tree.sidecar("listen ok announce term exit 0").liveness(liveness);
            let (supervisor, mut events) = Supervisor::start(spec.restart(Restart::OnFailure));
            let before = supervisor.ready().await.unwrap();
            process(&tree, before.pid).signal(Signal::STOP).unwrap();
            // One answer is overdue. With the next question it would be taken to hang.
            phase(&mut events, State::Unhealthy).await;
            // The time that passes here is the condition itself, and longer than two intervals.
            let script = "kill -STOP $0; sleep 2; kill -CONT $0 $1";
            let (host, sidecar) = (getpid().as_raw_nonzero().to_string(), before.pid.unwrap().to_string());
            let mut stopper = Command::new("sh");
            assert!(stopper.args(["-c", script, &host, &sidecar]).status().await.unwrap().success());
            let after = phase(&mut events, State::Ready).await;
            assert_eq!((after.pid, after.restarts), (before.pid, 0));
            let _ = supervisor.stop().await;
        });
    });
}

/// `pillion run` on a shell that does this, where no process is to be seen in `/proc`.
#[expect(clippy::disallowed_methods, reason = "the tree watches over it")]
fn without_proc(tree: &ProcessTree, script: &str) -> tokio::process::Child {
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-c", r#"mount -t tmpfs none /proc && exec "$@""#, "sh"])
        .arg(env!("CARGO_BIN_EXE_pillion-under-test"))
        .args(["run", "--json", "--grace", "1s", "--", "sh", "-c", script])
        .env("FAKE", env!("CARGO_BIN_EXE_fake-sidecar"))
        .env(ProcessMarker::VARIABLE, tree.marker())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped());
    command.spawn().unwrap()
}

/// Whether this machine lets us mount something in a namespace of our own, as containers often do not.
fn may_mount() -> bool {
    let mut mount = std::process::Command::new("unshare");
    mount.args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/proc"]);
    mount.output().is_ok_and(|output| output.status.success())
}

#[test]
fn without_proc_there_is_no_guard_and_the_group_is_stopped_all_the_same() {
    if !may_mount() {
        return eprintln!("not tested: unshare(1) is not allowed here");
    }
    run(async {
        let cooperative = r#"exec "$FAKE" listen ok announce term exit 0"#;
        let deaf = r#"trap '' TERM; sleep 1000 & exec "$FAKE" listen ok announce deaf park"#;
        for script in [cooperative, deaf] {
            let tree = tree();
            let mut pillion = without_proc(&tree, script);
            let mut lines = BufReader::new(pillion.stdout.take().unwrap()).lines();
            let (mut noticed, mut seen) = (false, Vec::new());
            while let Some(line) = lines.next_line().await.unwrap() {
                let event: serde_json::Value = serde_json::from_str(&line).unwrap();
                noticed |= event["event"] == "notice" && line.contains("no guard watches this sidecar");
                if event["event"] == "state" && seen.last() != Some(&event["state"]) {
                    seen.push(event["state"].clone());
                    if event["state"] == "ready" {
                        process(&tree, pillion.id()).signal(Signal::INT).unwrap();
                    }
                }
            }
            assert!(noticed, "it says so");
            assert_eq!(seen, ["starting", "ready", "stopping", "stopped"]);
            pillion.wait().await.unwrap();
            let deadline = std::time::Instant::now() + TEST_TIMEOUT;
            assert!(tree.alive().iter().all(|process| process.ends_before(deadline)));
        }
    });
}
