//! A sidecar on a Unix domain socket: it behaves as on a port, opens no port, and rejects other users.

use std::{
    collections::HashSet,
    env, fs,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
        process::CommandExt,
    },
    process::ExitCode,
};

use libtest_mimic::Trial;
use pillion::{Access, Program, Restart, SidecarEvent, Spec, State, Supervisor, Transport};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    harness::RunningSidecar,
    inherited_listener::{OWN_PID, with_listener},
    test_sidecar::{ARGUMENT as BE_THE_SIDECAR, HOLD},
    token::TOKEN,
};

/// Makes this program a client of the socket at the path that follows. It prints the answer.
pub(crate) const ARGUMENT: &str = "--be-a-client";
/// The user `nobody` on Debian and most other systems.
const NOBODY: u32 = 65534;

pub(crate) fn trials() -> Vec<Trial> {
    let mut all = trials![
        a_private_sidecar_on_a_socket_is_ready_and_demands_its_token,
        restart_swap_and_stop_work_on_a_socket,
        a_request_between_two_runs_waits_and_succeeds,
        a_sidecar_on_a_socket_holds_no_network_socket,
        a_sidecar_that_ignores_the_socket_is_reached_by_its_port,
        a_private_sidecar_that_ignores_the_socket_fails_to_start,
        announcing_a_socket_that_was_not_passed_does_not_count,
    ];
    // Only root can switch to another user.
    let ignored = !geteuid().is_root();
    all.extend(
        trials![another_user_cannot_connect].into_iter().map(|trial| trial.with_ignored_flag(ignored)),
    );
    all
}

fn spec() -> Spec {
    Spec::run("socket", program().private(true))
}

fn program() -> Program {
    Program::new(env::current_exe().unwrap()).arg(BE_THE_SIDECAR).transport(Transport::Local)
}

/// The status of `GET path` with this token, and the body.
async fn get(access: &Access, path: &str, token: &str) -> (u16, String) {
    let mut stream = access.connect().await.unwrap();
    let headers = format!(
        "Host: {}\r\nConnection: close\r\nAuthorization: Bearer {token}",
        access.listen_addr().authority()
    );
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{headers}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Asks with the sidecar's own token for the number of requests that reached a handler.
async fn hits(access: &Access) -> String {
    let (status, body) = get(access, "/hits", access.token.as_ref().unwrap().reveal()).await;
    assert_eq!(status, 200);
    body
}

async fn a_private_sidecar_on_a_socket_is_ready_and_demands_its_token() {
    let (supervisor, _events) = Supervisor::start(spec());
    let endpoint = supervisor.ready().await.unwrap();
    assert_eq!((endpoint.url.as_deref(), endpoint.port), (Some("pillion://localhost"), None));
    assert_eq!(endpoint.version.as_deref(), Some("1.2.3"), "a client with the token sees the version");
    assert!(endpoint.tcp_port().unwrap_err().message.contains("has no port"));
    let status = supervisor.status();
    assert_eq!((status.url, status.port), (endpoint.url, None));
    let access = supervisor.access().await.unwrap();
    assert_eq!(get(&access, "/headers", TOKEN).await.0, 401);
    assert_eq!(hits(&access).await, "0");
    assert!(!format!("{access:?}").contains(access.token.as_ref().unwrap().reveal()));
    let _ = supervisor.stop().await;
}

async fn restart_swap_and_stop_work_on_a_socket() {
    let (supervisor, _events) = Supervisor::start(spec());
    supervisor.ready().await.unwrap();
    let first = supervisor.access().await.unwrap();
    supervisor.restart().await.unwrap();
    let second = supervisor.access().await.unwrap();
    assert_eq!(
        get(&first, "/hits", first.token.as_ref().unwrap().reveal()).await.0,
        401,
        "the next run on the same address demands another token"
    );
    hits(&second).await;
    supervisor.swap().await.unwrap();
    let third = supervisor.access().await.unwrap();
    hits(&third).await;
    let _ = supervisor.stop().await;
    for gone in [first, second, third] {
        let error = gone.connect().await.err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    assert!(supervisor.access().await.is_err());
    supervisor.restart().await.unwrap();
    hits(&supervisor.access().await.unwrap()).await;
    let _ = supervisor.stop().await;
}

async fn a_request_between_two_runs_waits_and_succeeds() {
    let hold = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let held = hold.local_addr().unwrap().port().to_string();
    // Without a token, so that the next run may answer a request for this one.
    let spec = Spec::run("socket", program().env(HOLD, held)).restart(Restart::OnFailure);
    let (supervisor, _events) = Supervisor::start(spec);
    drop(hold.accept().await.unwrap());
    let pid = supervisor.ready().await.unwrap().pid.unwrap();
    let access = supervisor.access().await.unwrap();
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    // The next run has started. It does not serve until this connection is dropped.
    let held = hold.accept().await.unwrap();
    let request = tokio::spawn(async move { get(&access, "/hits", TOKEN).await });
    tokio::task::yield_now().await;
    assert!(!request.is_finished());
    drop(held);
    assert_eq!(request.await.unwrap().0, 200);
    let _ = supervisor.stop().await;
}

async fn a_sidecar_on_a_socket_holds_no_network_socket() {
    let (supervisor, _events) = Supervisor::start(spec());
    let pid = supervisor.ready().await.unwrap().pid.unwrap();
    let sockets = |pid: &str| -> HashSet<String> {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let target = |entry: fs::DirEntry| Some(fs::read_link(entry.path()).ok()?.to_str()?.to_owned());
        open.filter_map(|entry| target(entry.unwrap())).filter(|name| name.starts_with("socket:")).collect()
    };
    let listed = |table: &str| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap();
    let held = sockets(&pid.to_string());
    assert!(!held.is_empty(), "the sidecar holds its listener");
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let table = listed(table);
        for socket in &held {
            let inode = format!(" {} ", socket.trim_matches(|c: char| !c.is_ascii_digit()));
            assert!(!table.contains(&inode), "{socket} is a network socket: {table}");
        }
    }
    let _ = supervisor.stop().await;
}

/// The output of a client that runs as `user`. `/proc/self/exe` works even if that user may not enter the directories on the
/// path of this program.
async fn client(user: u32, path: &str) -> String {
    let mut client = std::process::Command::new("/proc/self/exe");
    client.args([ARGUMENT, path]).uid(user).gid(user);
    let output = tokio::process::Command::from(client).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The `main` function of the client.
pub(crate) fn connect() -> ExitCode {
    use std::io::{Read, Write};

    let path = env::args().nth(2).unwrap();
    let mut heard = String::new();
    let result = UnixStream::connect(path).and_then(|mut stream| {
        // The sidecar may reject the connection before this write.
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.read_to_string(&mut heard)
    });
    let said = result.map_or_else(|error| format!("{:?}", error.kind()), |_| format!("heard {heard:?}"));
    std::io::stdout().write_all(said.as_bytes()).unwrap();
    ExitCode::SUCCESS
}

async fn another_user_cannot_connect() {
    // Another user cannot use the app's own path to the socket.
    let (supervisor, _events) = Supervisor::start(spec());
    supervisor.ready().await.unwrap();
    let debug = format!("{:?}", supervisor.access().await.unwrap());
    let descriptor = debug.split("/proc/self/fd/").nth(1).unwrap().split('"').next().unwrap();
    let path = format!("/proc/{}/fd/{descriptor}", std::process::id());
    assert!(client(0, &path).await.contains("200 OK"), "this user can use the path");
    assert_eq!(client(NOBODY, &path).await, "PermissionDenied");
    let _ = supervisor.stop().await;

    // If the directory lets other users in, the sidecar rejects them.
    let directory = tempfile::tempdir().unwrap();
    let open = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    open(directory.path(), 0o755);
    open(&path, 0o777);
    let mut running =
        RunningSidecar::start_on(with_listener(listener, OWN_PID).env("PILLION_TOKEN", TOKEN), &path).await;
    let path = path.to_str().unwrap();
    assert!(client(0, path).await.contains("200 OK"));
    let rejected = client(NOBODY, path).await;
    assert!(["heard \"\"", "ConnectionReset"].contains(&rejected.as_str()), "{rejected}");
    running.stderr_until("rejected a connection of another user").await;
}

/// The first notice of the sidecar.
async fn notice(events: &mut pillion::Events) -> String {
    loop {
        if let SidecarEvent::Notice(text) = events.next().await.unwrap() {
            return text;
        }
    }
}

async fn a_sidecar_that_ignores_the_socket_is_reached_by_its_port() {
    // `LISTEN_PID` names the wrapper, which does not exec the sidecar. So the sidecar ignores the listener.
    let script = format!("\"$0\" {BE_THE_SIDECAR}; exit");
    let program = env::current_exe().unwrap();
    let shell = Program::new("sh").args(["-c", &script]).arg(program).transport(Transport::Local);
    let spec = Spec::run("wrapped", shell);
    let (supervisor, mut events) = Supervisor::start(spec);
    let endpoint = supervisor.ready().await.unwrap();
    assert_eq!(endpoint.url, Some(format!("http://127.0.0.1:{}", endpoint.port.unwrap())));
    let notice = notice(&mut events).await;
    assert!(notice.contains("did not take the listener that it was handed: it has a port"), "{notice}");
    let access = supervisor.access().await.unwrap();
    assert_eq!(get(&access, "/hits", TOKEN).await.0, 200);
    let _ = supervisor.stop().await;
}

async fn a_private_sidecar_that_ignores_the_socket_fails_to_start() {
    // As above, and private: the port that the sidecar opens must not be used.
    let script = format!("\"$0\" {BE_THE_SIDECAR}; exit");
    let wrapper = || {
        let program = env::current_exe().unwrap();
        Program::new("sh").args(["-c", &script]).arg(program).transport(Transport::Local).private(true)
    };
    let (supervisor, _events) = Supervisor::start(Spec::run("wrapped", wrapper()));
    let failure = supervisor.ready().await.unwrap_err();
    assert!(failure.message.contains("did not take its local socket"), "{failure:?}");
    assert!(supervisor.access().await.is_err());
    let _ = supervisor.stop().await;
    // A declaration may allow the port.
    let (supervisor, _events) = Supervisor::start(Spec::run("wrapped", wrapper().port_fallback(true)));
    assert!(supervisor.ready().await.unwrap().port.is_some());
    let _ = supervisor.stop().await;
}

async fn announcing_a_socket_that_was_not_passed_does_not_count() {
    let script = "echo BACKEND_SOCKET:3; read line; exit 7";
    let (supervisor, mut events) =
        Supervisor::start(Spec::run("liar", Program::new("sh").args(["-c", script])));
    assert!(notice(&mut events).await.contains("this run was given none"));
    assert_eq!(supervisor.status().state, State::Starting);
    let _ = supervisor.stop().await;
}
