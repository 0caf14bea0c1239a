//! The listener handover (socket activation): the listener outlives its servers, so that no connection is refused between two
//! runs.

use integration_tests::{ReportServer, run};
use pillion::{OutputStream, Restart, State, StopOutcome, Supervisor};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{notice, rest, state, status, tree};

async fn get(port: u16) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
fn a_request_between_two_runs_waits_and_succeeds() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        // Each run waits for the test before it serves. The request therefore comes between two runs.
        let steps = format!("report {} started wait inherit ok announce park", reports.port());
        let spec = tree.spec(tree.fake(&steps).handover(true)).restart(Restart::OnFailure);
        let (supervisor, mut events) = Supervisor::start(spec);
        reports.wait_for("started").await.resume().await;
        let before = supervisor.ready().await.unwrap();
        let sidecar = tree.alive().into_iter().find(|process| Some(process.pid) == before.pid).unwrap();
        sidecar.signal(Signal::KILL).unwrap();
        let down = state(&mut events, State::BackingOff).await;
        assert_eq!((down.port, down.url), (before.port, None));
        let mut next = reports.wait_for("started").await;
        let request = tokio::spawn(get(before.port.unwrap().get()));
        next.resume().await;
        assert!(request.await.unwrap().starts_with("HTTP/1.1 200"));
        let after = supervisor.ready().await.unwrap();
        assert!(after.port == before.port && after.pid != before.pid, "{after:?}");
        let _ = supervisor.kill().await;
    });
}

#[test]
fn a_stopped_sidecar_keeps_its_port_and_refuses_connections() {
    run(async {
        let tree = tree();
        let spec = tree.spec(tree.fake("inherit ok announce term exit 0").handover(true));
        let (supervisor, _) = Supervisor::start(spec);
        let before = supervisor.ready().await.unwrap();
        assert!(matches!(supervisor.stop().await, StopOutcome::Graceful(_)));
        let refused = TcpStream::connect(("127.0.0.1", before.port.unwrap().get())).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        assert_eq!(supervisor.restart().await.unwrap().port, before.port);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_sidecar_that_ignores_the_listener_announces_its_own_port_with_a_notice() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) = Supervisor::start(
            tree.spec(tree.fake("env LISTEN_FDS listen ok announce term exit 0").handover(true)),
        );
        crate::support::line(&mut events, "LISTEN_FDS=1").await;
        assert!(
            notice(&mut events).await.contains("did not take the listener that it was handed: requests fail")
        );
        let endpoint = supervisor.ready().await.unwrap();
        assert!(get(endpoint.port.unwrap().get()).await.starts_with("HTTP/1.1 200"));
        let _ = supervisor.stop().await;
        assert_eq!(status(&mut events, |status| status.state == State::Stopped).await.port, None);
    });
}

#[test]
fn a_listener_for_a_wrapper_is_not_taken_by_its_child() {
    run(async {
        let tree = tree();
        // LISTEN_PID holds the pid of the shell. The child ignores the listener, and the host notices that.
        let script =
            r#"[ "$LISTEN_PID" = $$ ] && "$FAKE" env LISTEN_PID listen ok announce term exit 0; exit 1"#;
        let (supervisor, mut events) =
            Supervisor::start(tree.spec(tree.program("sh").args(["-c", script]).handover(true)));
        assert!(notice(&mut events).await.contains("did not take the listener"));
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
    });
}

#[test]
fn without_a_handover_no_listener_is_inherited() {
    run(async {
        let tree = tree();
        let (supervisor, mut events) =
            Supervisor::start(tree.sidecar("env LISTEN_FDS env LISTEN_PID exit 0"));
        let (lines, _) = rest(&mut events, OutputStream::Stdout).await;
        assert_eq!(lines, ["LISTEN_FDS is unset", "LISTEN_PID is unset"]);
        drop(supervisor);
    });
}
