//! A sidecar that hangs is replaced, and one that is merely slow, sick or busy is not.

use std::time::Duration;

use integration_tests::{ProcessTree, run};
use pillion::{Events, FailureKind, Liveness, Restart, State, Supervisor};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::support::{assert_failure, phase, status, tree};

fn liveness(interval_ms: u64, tolerance: u32) -> Liveness {
    Liveness::new(Duration::from_millis(interval_ms), tolerance)
}

fn signal(tree: &ProcessTree, pid: u32, signal: Signal) {
    tree.alive().iter().find(|process| process.pid == pid).unwrap().signal(signal).unwrap();
}

#[test]
fn a_frozen_one_is_replaced() {
    run(async {
        let tree = tree();
        let spec = tree.sidecar("listen ok announce term exit 0");
        let spec = spec.restart(Restart::OnFailure).liveness(liveness(100, 3));
        let (supervisor, mut events) = Supervisor::start(spec);
        let before = supervisor.ready().await.unwrap();
        signal(&tree, before.pid.unwrap(), Signal::STOP);
        let unhealthy = phase(&mut events, State::Unhealthy).await;
        assert_eq!(unhealthy.url.as_ref(), Some(&before.url), "it may come to itself");
        let down = phase(&mut events, State::BackingOff).await;
        assert_failure(&down.failure.unwrap(), FailureKind::Hung, &["answered no health request for 300 ms"]);
        let after = supervisor.ready().await.unwrap();
        assert_ne!(before.pid, after.pid);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn one_that_may_not_be_restarted_is_left_alone_and_may_come_to_itself() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) =
            Supervisor::start(tree.sidecar("listen ok announce park").liveness(liveness(100, 2)));
        let pid = supervisor.ready().await.unwrap().pid.unwrap();
        phase(&mut events, State::Ready).await;
        for _ in 0..2 {
            signal(&tree, pid, Signal::STOP);
            phase(&mut events, State::Unhealthy).await;
            signal(&tree, pid, Signal::CONT);
            assert_eq!(phase(&mut events, State::Ready).await.pid, Some(pid));
        }
        let _ = supervisor.stop().await;
    });
}

/// Waits until the sidecar was found unhealthy so many times, and fails when it goes down meanwhile.
async fn unhealthy(events: &mut Events, times: usize) {
    for _ in 0..times {
        let next = status(events, |status| status.state != State::Ready).await;
        assert_eq!(next.state, State::Unhealthy, "{next:?}");
        let next = status(events, |status| status.state != State::Unhealthy).await;
        assert_eq!(next.state, State::Ready, "{next:?}");
    }
}

#[test]
fn a_late_answer_is_an_answer() {
    run(async {
        let tree = tree();
        // Each answer takes longer than the interval, and none as long as the patience.
        let spec =
            tree.sidecar("listen slow announce park").restart(Restart::OnFailure).liveness(liveness(300, 30));
        let (supervisor, mut events) = Supervisor::start(spec);
        supervisor.ready().await.unwrap();
        phase(&mut events, State::Ready).await;
        unhealthy(&mut events, 3).await;
        let _ = supervisor.stop().await;
    });
}

#[test]
fn one_that_says_that_it_is_sick_is_shown_and_not_killed() {
    run(async {
        let tree = tree();
        let spec = tree.sidecar("listen sick announce term exit 0");
        let spec = spec.restart(Restart::OnFailure).liveness(liveness(50, 1));
        let (supervisor, mut events) = Supervisor::start(spec);
        let pid = supervisor.ready().await.unwrap().pid;
        // The first beat may only say that an answer is overdue.
        let sick = status(&mut events, |status| {
            status.state == State::Unhealthy && status.reason.as_ref().is_some_and(|why| why.contains("503"))
        });
        assert_eq!(sick.await.pid, pid);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn load_is_not_taken_for_death() {
    const CLIENTS: usize = 64;
    run(async {
        let tree = tree();
        // Whoever asks while all clients wait is answered after 1.3 s: thirteen intervals.
        let spec = tree.sidecar("listen queue announce term exit 0");
        let spec = spec.restart(Restart::OnFailure).liveness(liveness(100, 100));
        let (supervisor, mut events) = Supervisor::start(spec);
        let endpoint = supervisor.ready().await.unwrap();
        phase(&mut events, State::Ready).await;
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(async move {
                for _ in 0..3 {
                    get(endpoint.port.unwrap().get()).await;
                }
            });
        }
        unhealthy(&mut events, 1).await;
        clients.join_all().await;
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
