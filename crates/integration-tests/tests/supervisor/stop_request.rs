//! A stop asks the leader first, by its declared request. The other processes are asked when the leader has ended, or after half
//! of the grace period.

use std::time::Duration;

use integration_tests::{
    ProcessTree, ReportServer,
    python::{ON_HTTP, ON_KEYBOARD_INTERRUPT, ON_QUIT, stoppable_server},
    run,
};
use pillion::{Exit, Program, StopOutcome, StopRequest, StopScope, StopSignal, Supervisor};

use crate::support::tree;

const CODE_0: Exit = Exit::with_code(0);
const CODE_7: Exit = Exit::with_code(7);

/// A server in Python that ignores SIGTERM. The code `stops` lets it exit with 7.
fn server(tree: &ProcessTree, stops: &str) -> Program {
    tree.program("python3").args(["-c", &stoppable_server("os._exit(7)", stops)])
}

async fn outcome(program: Program, tree: &ProcessTree) -> StopOutcome {
    let (supervisor, _) = Supervisor::start(tree.spec(program).grace(Duration::MAX));
    supervisor.ready().await.unwrap();
    let outcome = supervisor.stop().await;
    tree.assert_dead();
    outcome
}

#[test]
fn the_leader_is_asked_before_its_workers() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        // SIGTERM kills the worker. It must not die before the leader.
        let steps =
            format!("fork report {port} worker park ; announce term report {port} stopping wait exit 0");
        let (supervisor, _) =
            Supervisor::start(tree.sidecar(&format!("listen ok {steps}")).grace(Duration::MAX));
        supervisor.ready().await.unwrap();
        let worker = reports.wait_for("worker").await;
        let stop = tokio::spawn(async move { supervisor.stop().await });
        let mut leader = reports.wait_for("stopping").await;
        assert_eq!(tree.sidecars().len(), 2, "{:?}", tree.sidecars());
        leader.resume().await;
        worker.wait_death().await;
        assert_eq!(stop.await.unwrap(), StopOutcome::Graceful(CODE_0));
    });
}

#[test]
fn the_workers_of_a_leader_that_stays_are_asked_after_half_of_the_grace_period() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        // A second signal would end the leader with status 9.
        let leader = "import os, signal, sys, time\n\
             def asked(*_):\n\
             \tsignal.signal(signal.SIGTERM, lambda *_: os._exit(9))\n\
             signal.signal(signal.SIGTERM, asked)\n\
             os.system(f'$FAKE listen ok announce term report {sys.argv[1]} asked exit 0 &')\n\
             while True: signal.pause()";
        let program = tree.program("python3").args(["-c", leader, &port.to_string()]);
        // The worker must report within the second half.
        let (supervisor, _) = Supervisor::start(tree.spec(program).grace(Duration::from_secs(8)));
        supervisor.ready().await.unwrap();
        let stop = tokio::spawn(async move { supervisor.stop().await });
        reports.wait_for("asked").await.wait_death().await;
        let killed = Exit::with_signal(9);
        assert_eq!(stop.await.unwrap(), StopOutcome::Killed(killed), "the leader was asked once");
    });
}

#[test]
fn a_server_in_a_pipeline_keeps_its_reader_until_it_has_stopped() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        // SIGTERM kills the shell at once. The server writes when it stops, and SIGPIPE would kill it without cat.
        let server = "import os, signal, socket, sys\n\
             test = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
             def stop(*_):\n\
             \ttest.sendall(b'stopping\\n')\n\
             \ttest.recv(1)\n\
             \tprint('shutting down', flush=True)\n\
             \ttest.sendall(b'saved\\n')\n\
             \tos._exit(0)\n\
             signal.signal(signal.SIGTERM, stop)\n\
             signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n\
             os.system('\"$FAKE\" listen ok announce park &')\n\
             while True: signal.pause()";
        let script = r#"python3 -c "$1" "$0" | cat; exit 1"#;
        let program = tree.program("sh").args(["-c", script, &reports.port().to_string(), server]);
        let (supervisor, _) = Supervisor::start(tree.spec(program).grace(Duration::MAX));
        supervisor.ready().await.unwrap();
        let stop = tokio::spawn(async move { supervisor.stop().await });
        let mut server = reports.wait_for("stopping").await;
        server.resume().await;
        assert_eq!(server.next_line().await.as_deref(), Some("saved"));
        assert!(matches!(stop.await.unwrap(), StopOutcome::Graceful(_)));
        tree.assert_dead();
    });
}

#[test]
fn the_signal_is_declared() {
    run(async {
        let tree = tree();
        let program =
            server(&tree, ON_KEYBOARD_INTERRUPT).stop(StopRequest::default().signal(StopSignal::Int));
        assert_eq!(outcome(program, &tree).await, StopOutcome::Graceful(CODE_7));
    });
}

#[test]
fn the_scope_group_asks_all_processes_at_once() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let port = reports.port();
        let steps = format!(
            "listen ok fork report {port} worker park ; announce term report {port} stopping wait exit 0"
        );
        let program = tree.fake(&steps).stop(StopRequest::default().scope(StopScope::Group));
        let (supervisor, _) = Supervisor::start(tree.spec(program).grace(Duration::MAX));
        supervisor.ready().await.unwrap();
        let worker = reports.wait_for("worker").await;
        let stop = tokio::spawn(async move { supervisor.stop().await });
        let mut leader = reports.wait_for("stopping").await;
        worker.wait_death().await;
        leader.resume().await;
        assert_eq!(stop.await.unwrap(), StopOutcome::Graceful(CODE_0));
    });
}

#[test]
fn a_line_on_stdin_asks_instead_of_a_signal() {
    run(async {
        let tree = tree();
        let program = server(&tree, ON_QUIT).stop(StopRequest::default().stdin_line("quit"));
        assert_eq!(outcome(program, &tree).await, StopOutcome::Graceful(CODE_7));
    });
}

#[test]
fn an_http_request_asks_instead_of_a_signal() {
    run(async {
        let tree = tree();
        let program =
            server(&tree, ON_HTTP).stop(StopRequest::default().http("POST /shutdown".parse().unwrap()));
        assert_eq!(outcome(program, &tree).await, StopOutcome::Graceful(CODE_7));
    });
}

#[test]
fn a_server_that_refuses_the_http_request_is_signalled() {
    run(async {
        let tree = tree();
        let request = StopRequest::default().http("POST /unknown".parse().unwrap()).signal(StopSignal::Int);
        assert_eq!(
            outcome(server(&tree, ON_KEYBOARD_INTERRUPT).stop(request), &tree).await,
            StopOutcome::Graceful(CODE_7)
        );
    });
}
