//! A port that the declaration gives the sidecar: chosen by the supervisor, or fixed.

use std::{net::TcpListener, num::NonZeroU16};

use integration_tests::{ProcessTree, ReportServer, run};
use pillion::{Endpoint, FailureKind, Listen, Program, Restart, Spec, State, StopOutcome, Supervisor};

use crate::support::{assert_failure, notice, state, tree};

const SERVER: &str = "listen-on MY_PORT ok term exit 0";

fn assigned(tree: &ProcessTree, steps: &str) -> Program {
    tree.fake(steps).listen(Listen::Assigned).port_env("MY_PORT")
}

/// A port that is free now.
fn free() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn fixed(tree: &ProcessTree, port: u16, steps: &str) -> Spec {
    let listen = Listen::Fixed(port.try_into().unwrap());
    tree.spec(tree.fake(steps).listen(listen).port_env("MY_PORT"))
}

#[test]
fn an_assigned_port_needs_no_announcement() {
    run(async {
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.spec(assigned(&tree, SERVER)));
        let Endpoint { port, version, .. } = supervisor.ready().await.unwrap();
        assert_eq!(version.as_deref(), Some("1.2.3"), "another server answered");
        let status = supervisor.status();
        assert_eq!(status.url, Some(format!("http://127.0.0.1:{}", port.unwrap())));
        assert!(matches!(supervisor.stop().await, StopOutcome::Graceful(_)));
    });
}

#[test]
fn an_assigned_port_stays_the_same_after_a_crash_and_a_restart() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("listen-on MY_PORT ok report {} up wait exit 3", reports.port());
        let spec = tree.spec(assigned(&tree, &steps)).restart(Restart::OnFailure);
        let (supervisor, mut events) = Supervisor::start(spec);
        let first = supervisor.ready().await.unwrap();
        state(&mut events, State::Ready).await;
        reports.wait_for("up").await.resume().await;
        state(&mut events, State::BackingOff).await;
        let second = state(&mut events, State::Ready).await;
        let third = supervisor.restart().await.unwrap();
        assert_eq!((second.port, third.port), (first.port, first.port));
        assert!(second.pid != first.pid && third.pid != second.pid);
        let _ = supervisor.kill().await;
    });
}

#[test]
fn a_swap_gets_another_assigned_port() {
    run(async {
        let tree = tree();
        let (supervisor, _) = Supervisor::start(tree.spec(assigned(&tree, SERVER)));
        let before = supervisor.ready().await.unwrap();
        let after = supervisor.swap().await.unwrap();
        assert!(before.port != after.port && before.pid != after.pid);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn sidecars_that_start_at_the_same_time_get_different_ports() {
    run(async {
        let tree = tree();
        let sidecars: Vec<_> =
            (0..20).map(|_| Supervisor::start(tree.spec(assigned(&tree, SERVER))).0).collect();
        let (mut ports, mut taken) = (Vec::new(), Vec::new());
        for (index, sidecar) in sidecars.iter().enumerate() {
            let endpoint = match sidecar.ready().await {
                // Another program may take a port before the sidecar listens on it.
                Err(failure) if failure.detail.tail.iter().any(|line| line.contains("AddrInUse")) => {
                    taken.push((index, failure.message));
                    sidecar.restart().await
                }
                ready => ready,
            };
            ports.push(endpoint.unwrap().port.unwrap());
        }
        for (of, why) in taken {
            let has = |port: &NonZeroU16| why.ends_with(&format!(":{port}"));
            let owner = ports.iter().position(has).filter(|owner| *owner != of);
            assert_eq!(owner, None, "another sidecar has its port: {why}");
        }
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), sidecars.len());
        for sidecar in sidecars {
            let _ = sidecar.stop().await;
        }
    });
}

#[test]
fn a_fixed_port_needs_no_announcement_and_survives_restarts() {
    run(async {
        let (tree, port) = (tree(), free());
        let (supervisor, _) = Supervisor::start(fixed(&tree, port, SERVER));
        let endpoint = supervisor.ready().await.unwrap();
        assert_eq!(endpoint.port.unwrap().get(), port);
        assert_eq!(supervisor.restart().await.unwrap().port.unwrap().get(), port);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_taken_fixed_port_fails_at_once_and_names_the_owner() {
    run(async {
        let tree = tree();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let (supervisor, _) = Supervisor::start(fixed(&tree, port, SERVER));
        let failure = supervisor.ready().await.unwrap_err();
        let owner = format!("process {}", std::process::id());
        let parts = [&format!("port {port} of 127.0.0.1 is taken by"), &owner, "declare another port"];
        assert_failure(&failure, FailureKind::Spawn, &parts.map(|part| part as &str));
        assert_eq!(supervisor.status().pid, None, "no process was started");
        drop(taken);
        supervisor.restart().await.unwrap();
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_restart_to_a_taken_port_is_tried_until_the_restart_limit() {
    run(async {
        let (tree, port, reports) = (tree(), free(), ReportServer::new().await);
        // It listens elsewhere, so that the declared port is free while it runs.
        let steps = format!("listen ok announce report {} up wait exit 3", reports.port());
        let (supervisor, mut events) =
            Supervisor::start(fixed(&tree, port, &steps).restart(Restart::OnFailure));
        supervisor.ready().await.unwrap();
        let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
        reports.wait_for("up").await.resume().await;
        let failed = state(&mut events, State::Failed).await;
        assert_failure(
            &failed.failure.unwrap(),
            FailureKind::Spawn,
            &["is taken by", "given up after 4 restarts"],
        );
    });
}

#[test]
fn a_sidecar_on_a_fixed_port_is_not_swapped() {
    run(async {
        let (tree, port) = (tree(), free());
        let (supervisor, _) = Supervisor::start(fixed(&tree, port, SERVER));
        let before = supervisor.ready().await.unwrap();
        let failure = supervisor.swap().await.unwrap_err();
        assert_failure(&failure, FailureKind::Spawn, &["its present run has port", "restart it instead"]);
        assert_eq!(supervisor.ready().await.unwrap(), before);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn an_announcement_of_another_port_is_reported_and_followed() {
    run(async {
        let tree = tree();
        let program = assigned(&tree, "listen ok announce term exit 0");
        let (supervisor, mut events) = Supervisor::start(tree.spec(program));
        let notice = notice(&mut events).await;
        let endpoint = supervisor.ready().await.unwrap();
        let announced = format!("it announced port {} instead of the declared one", endpoint.port.unwrap());
        assert!(notice.starts_with(&announced), "{notice}");
        let _ = supervisor.stop().await;
    });
}

/// Long before the start expires, with the limit that a start has by default.
#[cfg(target_os = "linux")]
#[test]
fn a_server_on_another_port_than_the_given_one_is_told_while_it_starts() {
    run(async {
        let tree = tree();
        let spec =
            tree.spec(assigned(&tree, "listen ok park")).ready_timeout(std::time::Duration::from_secs(60));
        let (supervisor, mut events) = Supervisor::start(spec);
        let notice = notice(&mut events).await;
        assert!(notice.starts_with("it listens on 127.0.0.1:"), "{notice}");
        assert!(notice.contains(", but not yet on port "), "{notice}");
        assert_eq!(supervisor.status().state, State::Starting);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn an_announcement_of_the_given_port_changes_nothing() {
    run(async {
        let tree = tree();
        let program = assigned(&tree, "listen-on MY_PORT ok announce out BACKEND_PORT:1\\n term exit 0");
        let (supervisor, mut events) = Supervisor::start(tree.spec(program));
        // The first notice is about port 1. The announcement before it caused none.
        assert!(notice(&mut events).await.starts_with("it announced port 1 instead"));
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_declaration_that_contradicts_itself_does_not_start() {
    run(async {
        let tree = tree();
        let program = assigned(&tree, SERVER).handover(true);
        let failure = Supervisor::start(tree.spec(program)).0.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::Spawn, &["`port` and `handover` contradict each other"]);
    });
}
