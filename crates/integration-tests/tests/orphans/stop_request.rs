//! After the app's death the guard stops the sidecar as the app would have: it asks the leader first, by its declared request.

use std::time::Duration;

use integration_tests::{
    ReportServer,
    python::{ON_HTTP, ON_QUIT, stoppable_server},
    run,
};

use crate::support::{FakeHost, HOUR};

/// Kills the app of a server in Python that ignores SIGTERM, and waits until this request has stopped the server. The code
/// `stops` lets the server stop in further ways.
async fn stops_by(request: &str, stops: &str) {
    const STOPPED: &str =
        r#"socket.create_connection(("127.0.0.1", int(sys.argv[1]))).sendall(b"stopped\n"); os._exit(0)"#;
    let reports = ReportServer::new().await;
    let server = stoppable_server(STOPPED, stops);
    let program = ["python3", "-c", &server, &reports.port().to_string()].map(str::to_owned);
    let mut host = FakeHost::ready_with(&reports, HOUR, Some(request), &program).await;
    host.kill().await;
    reports.wait_for("stopped").await;
}

#[test]
fn by_the_declared_signal() {
    run(stops_by("signal SIGINT", "signal.signal(signal.SIGINT, lambda *_: stopped()); announce()"));
}

#[test]
fn by_a_line_on_stdin() {
    run(stops_by("stdin quit", ON_QUIT));
}

#[test]
fn by_an_http_request() {
    run(stops_by("http POST /shutdown", ON_HTTP));
}

#[test]
fn by_the_signal_if_the_http_request_is_refused() {
    // SIGTERM is the default signal.
    run(stops_by("http POST /unknown", "signal.signal(signal.SIGTERM, lambda *_: stopped()); announce()"));
}

#[test]
fn the_leader_before_its_workers() {
    run(async {
        let (reports, workers) = (ReportServer::new().await, ReportServer::new().await);
        let port = workers.port();
        let steps = format!(
            "listen ok fork report {port} worker park ; announce term report {port} stopping wait exit 0"
        );
        let mut host = FakeHost::ready(&reports, HOUR, &steps).await;
        let worker = workers.wait_for("worker").await;
        host.kill().await;
        let mut leader = workers.wait_for("stopping").await;
        assert_eq!(host.tree.sidecars().len(), 2, "{:?}", host.tree.sidecars());
        leader.resume().await;
        worker.wait_death().await;
    });
}

#[test]
fn the_workers_of_a_leader_that_stays_after_half_of_the_grace_period() {
    run(async {
        let (reports, workers) = (ReportServer::new().await, ReportServer::new().await);
        let port = workers.port();
        let steps = format!("listen ok fork term report {port} asked exit 0 ; ignore-term announce park");
        // The worker must report within the second half.
        let grace = Duration::from_secs(8);
        let mut host = FakeHost::ready(&reports, grace, &steps).await;
        let leader = host.tree.sidecars();
        host.kill().await;
        workers.wait_for("asked").await;
        assert!(
            leader.iter().any(|it| host.tree.sidecars().iter().any(|now| now.pid == it.pid)),
            "the leader was killed before the end of the grace period"
        );
    });
}
