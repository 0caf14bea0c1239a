//! Socket activation: the sidecar takes the host's listener, refuses an unusable one, and keeps it across crashes.

use std::{
    env,
    net::{SocketAddr, TcpListener, UdpSocket},
    num::NonZeroU16,
    os::fd::OwnedFd,
    time::Duration,
};

use libtest_mimic::Trial;
use pillion::{Program, Restart, RestartLimit, Spec, State, Status, StatusWatch, Supervisor};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    sync::mpsc,
};

use crate::{
    harness::{fails_to_start, sidecar},
    test_sidecar::{ARGUMENT, HOLD},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        a_listener_beyond_127_0_0_1_is_refused,
        a_descriptor_that_does_not_listen_is_refused,
        a_child_inherits_neither_the_listener_nor_its_variables,
        a_request_between_two_runs_waits_and_succeeds,
        no_connection_is_refused_during_twenty_crashes,
    ]
}

/// The sidecar with `fd` as its descriptor 3, as the convention demands. A shell execs the sidecar, because `LISTEN_PID` has
/// to be the sidecar's own process id.
pub(crate) fn with_listener(fd: impl Into<OwnedFd>, variables: &str) -> Command {
    let mut command = sidecar();
    let program = env::current_exe().unwrap();
    let script = format!("exec env {variables} \"$0\" {ARGUMENT} 3<&0 </dev/null");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(program).stdin(fd.into()).kill_on_drop(true);
    for (name, value) in command.as_std_mut().get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    shell
}

/// The variables of the convention, for the process itself.
pub(crate) const OWN_PID: &str = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http";

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn a_listener_beyond_127_0_0_1_is_refused() {
    // Elsewhere 127.0.0.1 alone is an address of this machine.
    let other_loopback = cfg!(target_os = "linux").then_some("127.0.0.2:0");
    for address in ["0.0.0.0:0", "[::]:0"].into_iter().chain(other_loopback) {
        let listener = TcpListener::bind(address).unwrap();
        let bound = listener.local_addr().unwrap();
        let (code, stdout, stderr) = fails_to_start(&mut with_listener(listener, OWN_PID)).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{address}");
        let says = format!("it is bound to {bound}: a sidecar listens on 127.0.0.1 only");
        assert!(stderr.contains("LISTEN_FDS") && stderr.contains(&says), "{stderr}");
    }
}

async fn a_descriptor_that_does_not_listen_is_refused() {
    let (listener, port) = listener();
    let connected = std::net::TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    let fd = |fd: OwnedFd| fd;
    for (handed, variables, says) in [
        (fd(connected.into()), OWN_PID, "does not listen"),
        (fd(UdpSocket::bind("127.0.0.1:0").unwrap().into()), OWN_PID, "not a valid tcp socket"),
        (fd(std::fs::File::open("/dev/null").unwrap().into()), OWN_PID, "not a socket"),
        (fd(listener.into()), "LISTEN_PID=$$ LISTEN_FDS=2", "LISTEN_FDS is not 1"),
    ] {
        let (code, stdout, stderr) = fails_to_start(&mut with_listener(handed, variables)).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{says}");
        assert!(stderr.contains(says), "{says:?} is missing in: {stderr}");
    }
}

async fn a_child_inherits_neither_the_listener_nor_its_variables() {
    let (supervisor, _events) = Supervisor::start(spec(program()));
    let port = supervisor.ready().await.unwrap().port.unwrap();
    let environment = answer(port, "/child").await.unwrap();
    assert!(environment.contains("PILLION_INSTANCE=") && !environment.contains("LISTEN_"), "{environment}");
    // The program reads `/proc`.
    if cfg!(target_os = "linux") {
        let open = answer(port, "/descriptors").await.unwrap();
        assert!(open.contains("pipe:") && !open.contains("socket:"), "{open}");
    }
    let _ = supervisor.stop().await;
}

fn program() -> Program {
    Program::new(env::current_exe().unwrap()).arg(ARGUMENT).handover(true)
}

fn spec(program: Program) -> Spec {
    // Restart at once, without a limit on the number of restarts.
    let restart_limit = RestartLimit::new(1, Duration::from_millis(1));
    Spec::run("handed", program).restart(Restart::OnFailure).restart_limit(restart_limit)
}

/// The whole answer, or `None` if the connection was cut before it ended. Panics if the connection is refused.
async fn answer(port: NonZeroU16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port.get())).await.expect("no connection is refused");
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).await.ok()?;
    stream.read_to_string(&mut answer).await.ok()?;
    answer.starts_with("HTTP/1.1 200 ").then_some(answer)
}

fn crash(status: &Status) {
    kill_process(Pid::from_raw(status.pid.unwrap().cast_signed()).unwrap(), Signal::KILL).unwrap();
}

/// Waits until another process than `before` is ready.
async fn ready(changes: &mut StatusWatch, before: Option<u32>) -> Status {
    loop {
        let status = changes.next().await.unwrap();
        if status.state == State::Ready && status.pid != before {
            return status;
        }
    }
}

async fn a_request_between_two_runs_waits_and_succeeds() {
    let (hold, at) = listener();
    hold.set_nonblocking(true).unwrap();
    let hold = tokio::net::TcpListener::from_std(hold).unwrap();
    let (supervisor, _events) = Supervisor::start(spec(program().env(HOLD, at.to_string())));
    let mut changes = supervisor.watch();
    drop(hold.accept().await.unwrap());
    let before = ready(&mut changes, None).await;
    crash(&before);
    // The next run has started. It does not serve until this connection is dropped.
    let held = hold.accept().await.unwrap();
    let port = before.port.unwrap();
    let request = tokio::spawn(answer(port, "/hits"));
    tokio::task::yield_now().await;
    assert!(!request.is_finished());
    drop(held);
    assert!(request.await.unwrap().is_some(), "the waiting request is answered");
    let after = ready(&mut changes, before.pid).await;
    assert_eq!(after.port, before.port);
    let _ = supervisor.stop().await;
}

async fn no_connection_is_refused_during_twenty_crashes() {
    const CLIENTS: usize = 4;
    let (supervisor, _events) = Supervisor::start(spec(program()));
    let mut changes = supervisor.watch();
    let mut status = ready(&mut changes, None).await;
    let port = status.port.unwrap();
    let (tell, mut answered) = mpsc::unbounded_channel();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let tell = tell.clone();
            tokio::spawn(async move {
                while tell.send(client).is_ok() {
                    if answer(port, "/hits").await.is_none() {
                        answer(port, "/hits").await.expect("a repeated request is answered");
                    }
                }
            })
        })
        .collect();
    for _ in 0..20 {
        // Wait until each client has sent a new request and received its answer: then no client repeats a request that the
        // previous crash cut.
        while answered.try_recv().is_ok() {}
        let mut counts = [0; CLIENTS];
        while counts.iter().any(|count| *count < 3) {
            counts[answered.recv().await.expect("every client continues")] += 1;
        }
        crash(&status);
        status = ready(&mut changes, status.pid).await;
        assert_eq!(status.port, Some(port));
    }
    drop(answered);
    for client in clients {
        client.await.unwrap();
    }
    let _ = supervisor.stop().await;
}
