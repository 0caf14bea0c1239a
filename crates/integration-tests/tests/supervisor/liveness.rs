//! A sidecar that hangs is replaced. One that is slow, unhealthy or busy is not.

use std::time::Duration;

use integration_tests::{ProcessTree, ReportServer, Reporter, run};
use pillion::{Events, FailureKind, Liveness, Restart, State, Supervisor};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::support::{assert_failure, state, status, tree};

fn liveness(interval_ms: u64, tolerance: u32) -> Liveness {
    Liveness::new(Duration::from_millis(interval_ms), tolerance)
}

fn signal(tree: &ProcessTree, pid: u32, signal: Signal) {
    tree.alive().iter().find(|process| process.pid == pid).unwrap().signal(signal).unwrap();
}

#[test]
fn a_frozen_sidecar_is_replaced() {
    run(async {
        let tree = tree();
        let spec = tree.sidecar("listen ok announce term exit 0");
        let spec = spec.restart(Restart::OnFailure).liveness(liveness(1000, 3));
        let (supervisor, mut events) = Supervisor::start(spec);
        let before = supervisor.ready().await.unwrap();
        signal(&tree, before.pid.unwrap(), Signal::STOP);
        let unhealthy = state(&mut events, State::Unhealthy).await;
        assert_eq!(unhealthy.url, before.url, "it may recover");
        let down = state(&mut events, State::BackingOff).await;
        assert_failure(&down.failure.unwrap(), FailureKind::Hung, &["answered no health request for 3 s"]);
        let after = supervisor.ready().await.unwrap();
        assert_ne!(before.pid, after.pid);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_frozen_sidecar_without_restarts_is_left_alone_and_may_recover() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) =
            Supervisor::start(tree.sidecar("listen ok announce park").liveness(liveness(100, 2)));
        let pid = supervisor.ready().await.unwrap().pid.unwrap();
        state(&mut events, State::Ready).await;
        for _ in 0..2 {
            signal(&tree, pid, Signal::STOP);
            state(&mut events, State::Unhealthy).await;
            signal(&tree, pid, Signal::CONT);
            assert_eq!(state(&mut events, State::Ready).await.pid, Some(pid));
        }
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_hung_sidecar_that_may_be_debugged_is_reported_and_not_killed() {
    run(async {
        let tree = tree();
        let spec = tree.sidecar("listen ok announce park").restart(Restart::OnFailure);
        let (supervisor, mut events) = Supervisor::start(spec.liveness(liveness(100, 2).with_restart(false)));
        let pid = supervisor.ready().await.unwrap().pid.unwrap();
        for _ in 0..2 {
            signal(&tree, pid, Signal::STOP);
            let hung = |reason: &str| {
                reason.contains("hangs: it answered no health request") && reason.contains("not restarted")
            };
            status(&mut events, |status| {
                status.state == State::Unhealthy && status.reason.as_deref().is_some_and(hung)
            })
            .await;
            signal(&tree, pid, Signal::CONT);
            assert_eq!(state(&mut events, State::Ready).await.pid, Some(pid));
        }
        let _ = supervisor.stop().await;
    });
}

/// A limit that no test reaches.
const NEVER: u32 = u32::MAX;

/// A sidecar of this kind, whose answers the test holds back and releases.
async fn start_held(
    tree: &ProcessTree,
    reports: &ReportServer,
    kind: &str,
) -> (Supervisor, Events, Reporter) {
    let steps = format!("report {} up listen {kind} announce term exit 0", reports.port());
    let spec = tree.sidecar(&steps).restart(Restart::OnFailure).liveness(liveness(20, NEVER));
    let (supervisor, mut events) = Supervisor::start(spec);
    let sidecar = reports.wait_for("up").await;
    state(&mut events, State::Ready).await;
    (supervisor, events, sidecar)
}

/// Waits for the next change of the state, which must be to this one.
async fn next_state(events: &mut Events, from: State, to: State) {
    let next = status(events, |status| status.state != from).await;
    assert_eq!(next.state, to, "{next:?}");
}

#[test]
fn a_late_answer_makes_the_sidecar_healthy_again() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, mut events, mut sidecar) = start_held(&tree, &reports, "held").await;
        for _ in 0..3 {
            sidecar.send("c").await;
            next_state(&mut events, State::Ready, State::Unhealthy).await;
            sidecar.send("o").await;
            next_state(&mut events, State::Unhealthy, State::Ready).await;
        }
        let _ = supervisor.stop().await;
    });
}

#[test]
fn an_unhealthy_answer_is_shown_and_the_sidecar_is_not_killed() {
    run(async {
        let tree = tree();
        let spec = tree.sidecar("listen sick announce term exit 0");
        let spec = spec.restart(Restart::OnFailure).liveness(liveness(50, NEVER));
        let (supervisor, mut events) = Supervisor::start(spec);
        let pid = supervisor.ready().await.unwrap().pid;
        // The first result may only say that an answer is overdue.
        let unhealthy = status(&mut events, |status| {
            status.state == State::Unhealthy && status.reason.as_ref().is_some_and(|why| why.contains("503"))
        });
        assert_eq!(unhealthy.await.pid, pid);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_health_request_may_queue_behind_other_requests() {
    const CLIENTS: usize = 64;
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let (supervisor, mut events, mut sidecar) = start_held(&tree, &reports, "queue").await;
        let endpoint = supervisor.ready().await.unwrap();
        sidecar.send("c").await;
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(async move { get(endpoint.port.unwrap().get()).await });
        }
        next_state(&mut events, State::Ready, State::Unhealthy).await;
        sidecar.send("o").await;
        clients.join_all().await;
        next_state(&mut events, State::Unhealthy, State::Ready).await;
        let status = supervisor.status();
        assert_eq!((status.pid, status.restarts), (endpoint.pid, 0));
        let _ = supervisor.stop().await;
    });
}

async fn get(port: u16) {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
}
