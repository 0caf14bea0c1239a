//! The supervisor uses a server that it did not start, and never stops it.

use std::num::NonZeroU16;

use integration_tests::run;
use pillion::{Spec, State, StopOutcome, Supervisor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};

use crate::support::{Expired, expire, state};

/// A server in this process that answers every connection alike.
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
        assert_eq!(endpoint.url, Some(format!("http://127.0.0.1:{port}")));
        assert_eq!(supervisor.restart().await.unwrap(), endpoint);
        assert_eq!(supervisor.stop().await, StopOutcome::Detached);
        assert_eq!(state(&mut events, State::Stopped).await.exit, None);
        assert_eq!(supervisor.stop().await, StopOutcome::NotRunning);
        let endpoint = supervisor.restart().await.unwrap();
        assert_eq!((endpoint.port, supervisor.kill().await), (Some(port), StopOutcome::Detached));
        assert!(!server.is_finished());
        let (again, _) = Supervisor::start(Spec::attach("dev", port));
        again.ready().await.unwrap();
    });
}

#[test]
fn attaching_to_a_port_without_a_listener_fails_with_the_reason() {
    run(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = NonZeroU16::new(socket.local_addr().unwrap().port()).unwrap();
        let parts = ["dev", &port.to_string(), "nothing accepts connections"];
        let Expired { failure, .. } = expire(|| Spec::attach("dev", port), &parts).await;
        assert!(!failure.message.contains("announced"), "no port was announced: {failure}");
    });
}

#[test]
fn a_server_that_does_not_speak_http_is_not_ready() {
    run(async {
        for answer in ["", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200"] {
            let (port, server) = serve(answer).await;
            expire(|| Spec::attach("dev", port), &["it gave no HTTP answer"]).await;
            server.abort();
        }
    });
}

#[test]
fn an_unfinished_or_malformed_body_is_healthy() {
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
