//! A sidecar on a named pipe: no port, no access without the token, and no pipe of another program.

use std::{collections::BTreeSet, fs, io, process::Command};

use pillion::{
    Access, FailureKind, Program, SidecarEvent, Spec, StopOutcome, Supervisor, Transport,
    protocol::ListenAddr,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::windows::named_pipe::ServerOptions,
    task::JoinSet,
};
use windows_tests::{ReportServer, run};

use crate::support::{program, spec};

const SERVES: &str = "report PORT leader pillion-server";

/// A private sidecar on a named pipe.
fn piped(steps: &str, reports: &ReportServer) -> Spec {
    spec(private(steps, reports).transport(Transport::Local))
}

fn private(steps: &str, reports: &ReportServer) -> Program {
    program(steps, reports).private(true)
}

/// Sends a request on a new connection, with this token.
async fn get(access: &Access, path: &str, token: &str) -> (u16, String) {
    let mut stream = access.connect().await.unwrap();
    let head = format!("Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}");
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{head}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn token(access: &Access) -> &str {
    access.token.as_ref().unwrap().reveal()
}

/// The ports with a listener. Under Wine the Linux kernel lists them (`proc_pid_net(5)`): Wine's own table omits listeners, and
/// its server holds all sockets.
fn ports() -> BTreeSet<u16> {
    let (table, radix) = match fs::read_to_string(r"Z:\proc\net\tcp") {
        Ok(table) => (table, 16),
        Err(_) => {
            let table = Command::new("netstat").args(["-an", "-p", "TCP"]).output().unwrap().stdout;
            (String::from_utf8_lossy(&table).into_owned(), 10)
        }
    };
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, radix).ok();
    let listening = table.lines().filter_map(|row| {
        let mut columns = row.split_whitespace().skip(1);
        let (local, remote) = (port(columns.next()?)?, port(columns.next()?)?);
        // A listening socket has no remote address.
        (remote == 0).then_some(local)
    });
    listening.collect()
}

#[test]
fn it_answers_only_the_app() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = Supervisor::start(piped(SERVES, &reports));
        let endpoint = supervisor.ready().await.unwrap();
        let leader = reports.wait_for("leader").await;
        assert_eq!((endpoint.url.as_deref(), endpoint.port), (Some("pillion://localhost"), None));
        // The supervisor reads the health only after the proof.
        assert_eq!(endpoint.version.as_deref(), Some("1.2.3"));

        let access = supervisor.access().await.unwrap();
        assert_eq!(access.listen_addr(), ListenAddr::Local);
        let (status, given) = get(&access, "/given", token(&access)).await;
        assert_eq!(status, 200);
        let given: Vec<_> = given.split(' ').filter(|name| name.starts_with("PILLION_")).collect();
        assert_eq!(given, ["PILLION_INSTANCE", "PILLION_PROTOCOL"]);
        assert_eq!(get(&access, "/given", &"0".repeat(64)).await.0, 401);
        assert_eq!(get(&access, "/health", "").await, (200, r#"{"status":"ok"}"#.to_owned()));

        let _ = supervisor.stop().await;
        leader.wait_death().await;
    });
}

/// Other programs may start to listen at the same moment. One trial without a new listener is enough.
#[test]
fn it_listens_on_no_port() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = Supervisor::start(spec(private(SERVES, &reports)));
        let port = supervisor.ready().await.unwrap().port.unwrap().get();
        assert!(ports().contains(&port), "the search does not find a port");
        let _ = supervisor.stop().await;

        for _ in 0..10 {
            let before = ports();
            let (supervisor, _) = Supervisor::start(piped(SERVES, &reports));
            supervisor.ready().await.unwrap();
            let during = ports();
            let _ = supervisor.stop().await;
            if during.is_subset(&before) {
                return;
            }
        }
        panic!("each trial found a new port");
    });
}

#[test]
fn many_clients_receive_large_answers_at_once() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = Supervisor::start(piped(SERVES, &reports));
        let access = supervisor.access().await.unwrap();
        let mut clients = JoinSet::new();
        for _ in 0..20 {
            let access = access.clone();
            clients.spawn(async move { get(&access, "/large", token(&access)).await });
        }
        while let Some(answer) = clients.join_next().await {
            let (status, body) = answer.unwrap();
            assert_eq!((status, body.len()), (200, 8 << 20));
        }
    });
}

#[test]
fn each_run_has_a_new_pipe_and_the_old_one_is_gone() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = Supervisor::start(piped(SERVES, &reports));
        let first = supervisor.access().await.unwrap();
        let old = reports.wait_for("leader").await;
        supervisor.restart().await.unwrap();
        old.wait_death().await;
        let second = supervisor.access().await.unwrap();
        let refused = first.connect().await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(get(&second, "/given", token(&first)).await.0, 401);
        assert_eq!(get(&second, "/given", token(&second)).await.0, 200);
    });
}

#[test]
fn a_sidecar_that_ignores_the_pipe_is_used_at_its_port() {
    run(async {
        let reports = ReportServer::new().await;
        let program = program("serve eof exit 0", &reports).transport(Transport::Local);
        let (supervisor, mut events) = Supervisor::start(spec(program));
        assert!(supervisor.ready().await.unwrap().port.is_some());
        let notice = loop {
            if let SidecarEvent::Notice(text) = events.next().await.unwrap() {
                break text;
            }
        };
        assert!(notice.contains("did not take the listener"), "{notice}");
    });
}

#[test]
fn a_pipe_with_a_foreign_name_is_not_created() {
    run(async {
        let reports = ReportServer::new().await;
        let program = program("pillion-server", &reports).env("PILLION_PIPE", r"\\.\pipe\pillion-me");
        let (supervisor, _) = Supervisor::start(spec(program));
        let failure = supervisor.ready().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ExitedEarly);
        let stderr = failure.detail.tail.join("\n");
        assert!(stderr.contains("PILLION_PIPE is not"), "{stderr}");
    });
}

#[test]
fn it_does_not_start_if_another_program_holds_the_name() {
    run(async { assert_refused("1").await });
}

#[test]
#[ignore = "Wine 8 ignores FILE_FLAG_FIRST_PIPE_INSTANCE"]
fn it_does_not_start_if_another_program_shares_the_name() {
    run(async { assert_refused("10").await });
}

/// Another program creates the pipe first, with this maximum of instances.
async fn assert_refused(instances: &str) {
    let reports = ReportServer::new().await;
    let steps = format!(
        "child-no-stdin squat {instances} report PORT squatter wait exit 0 ; report PORT leader wait pillion-server"
    );
    let (supervisor, _) = Supervisor::start(piped(&steps, &reports));
    let mut squatter = reports.wait_for("squatter").await;
    let mut leader = reports.wait_for("leader").await;
    leader.resume().await;
    leader.wait_death().await;
    squatter.resume().await;
    let failure = supervisor.ready().await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::ExitedEarly);
    let stderr = failure.detail.tail.join("\n");
    assert!(stderr.contains("another program has already created the named pipe"), "{stderr}");
    squatter.wait_death().await;
}

#[test]
fn another_program_that_adds_an_instance_receives_nothing() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = Supervisor::start(piped("report PORT leader pipe pillion-server", &reports));
        let name = reports.wait_for("leader").await.line().await;
        let access = supervisor.access().await.unwrap();
        let mut others = JoinSet::new();
        for _ in 0..3 {
            let mut other = ServerOptions::new().create(&name).unwrap();
            others.spawn(async move {
                other.connect().await.unwrap();
                let mut received = Vec::new();
                // Windows sometimes reports the end of the stream as an error.
                let _ = other.read_to_end(&mut received).await;
                received
            });
        }
        // The instances of a pipe serve in turn.
        for _ in 0..10 {
            assert_eq!(get(&access, "/given", token(&access)).await.0, 200);
        }
        while let Some(received) = others.join_next().await {
            assert_eq!(String::from_utf8_lossy(&received.unwrap()), "");
        }
    });
}

#[test]
fn a_client_that_reads_nothing_does_not_delay_the_stop() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = Supervisor::start(piped(SERVES, &reports));
        let access = supervisor.access().await.unwrap();
        let leader = reports.wait_for("leader").await;
        let mut stream = access.connect().await.unwrap();
        let request = format!(
            "GET /large HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
            token(&access)
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        // The answer has begun, and is longer than the buffers of the system.
        stream.read_exact(&mut [0; 9]).await.unwrap();
        let StopOutcome::Graceful(exit) = supervisor.stop().await else { panic!("the sidecar was killed") };
        assert!(exit.is_success(), "{exit:?}");
        leader.wait_death().await;
        drop(stream);
    });
}
