//! A lack of resources: descriptors and time. The supervisor has a defined outcome for each.

use std::time::{Duration, Instant};

use integration_tests::{LiveProcess, ProcessTree, isolated, run};
use pillion::{FailureKind, Liveness, Restart, State, Supervisor};
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, setrlimit};
use tokio::{io::AsyncWriteExt as _, process::Command};

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
