//! A server that somebody else started is used, and never touched.

use std::num::NonZeroU16;

use integration_tests::run;
use pillion::{FailureKind, Spec, State, StopOutcome, Supervisor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};

use crate::{
    readiness::SHORT,
    support::{assert_failure, phase},
};

/// A server in this process that gives every connection the same answer.
async fn serve(answer: &'static str) -> (NonZeroU16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = NonZeroU16::new(listener.local_addr().unwrap().port()).unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let _ = connection.read(&mut [0; 4096]).await;
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    (port, server)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{\"version\":\"0.0.1\"}";

#[test]
fn an_attached_server_is_ready_and_outlives_the_stop() {
    run(async {
        let (port, server) = serve(OK).await;
        let (supervisor, mut events) = Supervisor::start(Spec::attach("dev", port));
        let endpoint = supervisor.ready().await.unwrap();
        assert_eq!(
            (endpoint.port, endpoint.pid, endpoint.version.as_deref()),
            (Some(port), None, Some("0.0.1"))
        );
        assert_eq!(endpoint.url, format!("http://127.0.0.1:{port}"));
        assert_eq!(supervisor.restart().await.unwrap(), endpoint);
        assert_eq!(supervisor.stop().await, StopOutcome::Detached);
        assert_eq!(phase(&mut events, State::Stopped).await.exit, None);
        assert_eq!(supervisor.stop().await, StopOutcome::NotRunning);
        let endpoint = supervisor.restart().await.unwrap();
        assert_eq!((endpoint.port, supervisor.kill().await), (Some(port), StopOutcome::Detached));
        assert!(!server.is_finished());
        let (again, _) = Supervisor::start(Spec::attach("dev", port));
        again.ready().await.unwrap();
    });
}

#[test]
fn attaching_to_nothing_fails_in_time_with_the_reason() {
    run(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = NonZeroU16::new(socket.local_addr().unwrap().port()).unwrap();
        let (supervisor, _) = Supervisor::start(Spec::attach("dev", port).ready_timeout(SHORT));
        let failure = supervisor.ready().await.unwrap_err();
        let port = port.to_string();
        assert_failure(&failure, FailureKind::ReadyTimeout, &["dev", &port, "nothing accepts connections"]);
        assert!(!failure.message.contains("announced"), "nothing was announced: {failure}");
    });
}

#[test]
fn what_is_no_http_is_not_ready() {
    run(async {
        for answer in ["", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200"] {
            let (port, server) = serve(answer).await;
            let (supervisor, _) = Supervisor::start(Spec::attach("dev", port).ready_timeout(SHORT));
            let failure = supervisor.ready().await.unwrap_err();
            assert_failure(&failure, FailureKind::ReadyTimeout, &["it gave no HTTP answer"]);
            server.abort();
        }
    });
}

#[test]
fn an_endless_or_broken_body_is_still_an_answer() {
    run(async {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"ver",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n\u{7f}[{",
        ] {
            let (port, _server) = serve(answer).await;
            let (supervisor, _) = Supervisor::start(Spec::attach("dev", port));
            assert_eq!(supervisor.ready().await.unwrap().version, None);
        }
    });
}
