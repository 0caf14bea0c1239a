//! A lack of resources: descriptors, time and `/proc`. The supervisor has a defined outcome for each.

use std::time::{Duration, Instant};

use integration_tests::{LiveProcess, ProcessMarker, ProcessTree, TEST_TIMEOUT, isolated, run};
use pillion::{FailureKind, Liveness, Restart, State, Supervisor};
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, setrlimit};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use crate::support::{assert_failure, state, tree};

fn process(tree: &ProcessTree, pid: Option<u32>) -> LiveProcess {
    tree.alive().into_iter().find(|process| Some(process.pid) == pid).unwrap()
}

#[test]
fn without_free_descriptors_starts_fail_and_everything_recovers_afterwards() {
    isolated(
        "resource_exhaustion::without_free_descriptors_starts_fail_and_everything_recovers_afterwards",
        || {
            run(async {
                let tree = tree();
                // Long enough that a busy machine does not reach it by itself.
                let liveness = Liveness::new(Duration::from_secs(1), 3);
                let steps = "listen ok announce term exit 0";
                let spec = |name| tree.named(name, steps).restart(Restart::OnFailure);
                let (steady, mut steady_events) = Supervisor::start(spec("steady").liveness(liveness));
                let (crashing, mut events) = Supervisor::start(spec("crashing").liveness(None));
                let (before, victim) = (steady.ready().await.unwrap(), crashing.ready().await.unwrap());
                let steady_process = process(&tree, before.pid);
                let victim = process(&tree, victim.pid);

                let limit = getrlimit(Resource::Nofile);
                setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..limit }).unwrap();
                let exhausted = Instant::now();
                // The restarts and the new starts outlast the time in which the other sidecar would count as hung.
                victim.signal(Signal::KILL).unwrap();
                let down = state(&mut events, State::Failed).await;
                let parts = ["no file descriptor left", "given up after 4 restarts"];
                assert_failure(&down.failure.unwrap(), FailureKind::Spawn, &parts);
                while exhausted.elapsed() < 2 * liveness.interval * liveness.tolerance {
                    let failure = Supervisor::start(tree.named("new", steps)).0.ready().await.unwrap_err();
                    let parts = ["new could not be started", "no file descriptor left"];
                    assert_failure(&failure, FailureKind::Spawn, &parts);
                }
                let status = steady.status();
                assert_eq!((status.pid, status.restarts), (before.pid, 0), "{status:?}");

                setrlimit(Resource::Nofile, limit).unwrap();
                crashing.restart().await.unwrap();
                steady_process.signal(Signal::STOP).unwrap();
                let down = state(&mut steady_events, State::BackingOff).await;
                assert_failure(&down.failure.unwrap(), FailureKind::Hung, &[]);
                assert_ne!(steady.ready().await.unwrap().pid, before.pid);
                let _ = tokio::join!(steady.stop(), crashing.stop());
            });
        },
    );
}

#[test]
fn a_suspended_host_does_not_take_its_sidecar_for_hung() {
    isolated("resource_exhaustion::a_suspended_host_does_not_take_its_sidecar_for_hung", || {
        run(async {
            let tree = tree();
            let liveness = Liveness::new(Duration::from_secs(1), 4);
            let spec = tree.sidecar("listen ok announce term exit 0").liveness(liveness);
            let (supervisor, mut events) = Supervisor::start(spec.restart(Restart::OnFailure));
            let before = supervisor.ready().await.unwrap();
            let (host, sidecar) = (getpid().as_raw_nonzero().to_string(), before.pid.unwrap().to_string());
            // It runs already when it is needed, so that the sidecar has no time to count as hung. The time that passes here is
            // the condition itself: longer than the sidecar may be silent.
            let script = "read go; kill -STOP $0; sleep 6; kill -CONT $0 $1";
            #[expect(clippy::disallowed_methods, reason = "it ends with its stdin, or after six seconds")]
            let mut suspender = Command::new("sh")
                .args(["-c", script, &host, &sidecar])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            process(&tree, before.pid).signal(Signal::STOP).unwrap();
            // One answer is overdue, and three more may become so.
            state(&mut events, State::Unhealthy).await;
            suspender.stdin.take().unwrap().write_all(b"\n").await.unwrap();
            assert!(suspender.wait().await.unwrap().success());
            let after = state(&mut events, State::Ready).await;
            assert_eq!((after.pid, after.restarts), (before.pid, 0));
            let _ = supervisor.stop().await;
        });
    });
}

/// `pillion run` on a shell with this script, in a mount namespace where `/proc` is empty.
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

/// Whether this user may mount a file system in a namespace of its own. Many containers do not allow it.
fn may_mount() -> bool {
    let mut mount = std::process::Command::new("unshare");
    mount.args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/proc"]);
    mount.output().is_ok_and(|output| output.status.success())
}

#[test]
fn without_proc_there_is_no_guard_and_the_group_is_still_stopped() {
    if !may_mount() {
        return eprintln!("not tested: unshare(1) is not allowed here");
    }
    run(async {
        let cooperative = r#"exec "$FAKE" listen ok announce term exit 0"#;
        let ignores_term = r#"trap '' TERM; sleep 1000 & exec "$FAKE" listen ok announce ignore-term park"#;
        for script in [cooperative, ignores_term] {
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
            assert!(noticed, "there is no notice of the missing guard");
            assert_eq!(seen, ["starting", "ready", "stopping", "stopped"]);
            pillion.wait().await.unwrap();
            let deadline = Instant::now() + TEST_TIMEOUT;
            assert!(tree.alive().iter().all(|process| process.ends_before(deadline)));
        }
    });
}
