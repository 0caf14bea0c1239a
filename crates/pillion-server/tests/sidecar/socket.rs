//! A sidecar on a Unix domain socket: all that holds on a port holds here, nobody listens on a port, and no other user gets in.

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
    inherited_listener::{OURS, given},
    private::TOKEN,
    program::{ARGUMENT as BE_THE_SIDECAR, HOLD},
    support::Running,
};

/// Makes this program a client of the socket at the path that follows: it says what it hears.
pub(crate) const ARGUMENT: &str = "--be-a-client";
/// `nobody`, on Debian and most others.
const NOBODY: u32 = 65534;

pub(crate) fn trials() -> Vec<Trial> {
    let mut all = trials![
        it_is_ready_and_answers_the_token_alone,
        restart_and_swap_and_stop_are_as_on_a_port,
        a_request_between_two_runs_waits_and_succeeds,
        nothing_listens_on_any_port,
        a_sidecar_that_takes_no_socket_is_reached_by_its_port,
        one_that_announces_a_socket_it_was_not_handed_is_not_ready,
    ];
    // Only root can become another user.
    let ignored = !geteuid().is_root();
    all.extend(trials![no_other_user_gets_in].into_iter().map(|trial| trial.with_ignored_flag(ignored)));
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

/// With its own token.
async fn hits(access: &Access) -> String {
    let (status, body) = get(access, "/hits", access.token.as_ref().unwrap().reveal()).await;
    assert_eq!(status, 200);
    body
}

async fn it_is_ready_and_answers_the_token_alone() {
    let (supervisor, _events) = Supervisor::start(spec());
    let endpoint = supervisor.ready().await.unwrap();
    assert_eq!((endpoint.url.as_str(), endpoint.port), ("pillion://localhost", None));
    assert_eq!(endpoint.version.as_deref(), Some("1.2.3"), "told to whoever holds the token");
    assert!(endpoint.tcp_port().unwrap_err().message.contains("has no port"));
    let status = supervisor.status();
    assert_eq!((status.url, status.port), (Some(endpoint.url), None));
    let access = supervisor.access().await.unwrap();
    assert_eq!(get(&access, "/headers", TOKEN).await.0, 401);
    assert_eq!(hits(&access).await, "0");
    assert!(!format!("{access:?}").contains(access.token.as_ref().unwrap().reveal()));
    let _ = supervisor.stop().await;
}

async fn restart_and_swap_and_stop_are_as_on_a_port() {
    let (supervisor, _events) = Supervisor::start(spec());
    supervisor.ready().await.unwrap();
    let first = supervisor.access().await.unwrap();
    supervisor.restart().await.unwrap();
    let second = supervisor.access().await.unwrap();
    assert_eq!(
        get(&first, "/hits", first.token.as_ref().unwrap().reveal()).await.0,
        401,
        "the same way, another run"
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
    let gate = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let held = gate.local_addr().unwrap().port().to_string();
    // Without a token, so that the next run answers what was meant for this one.
    let spec = Spec::run("socket", program().env(HOLD, held)).restart(Restart::OnFailure);
    let (supervisor, _events) = Supervisor::start(spec);
    drop(gate.accept().await.unwrap());
    let pid = supervisor.ready().await.unwrap().pid.unwrap();
    let access = supervisor.access().await.unwrap();
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    // The next run has started, and does not serve before this is dropped.
    let held = gate.accept().await.unwrap();
    let request = tokio::spawn(async move { get(&access, "/hits", TOKEN).await });
    tokio::task::yield_now().await;
    assert!(!request.is_finished());
    drop(held);
    assert_eq!(request.await.unwrap().0, 200);
    let _ = supervisor.stop().await;
}

async fn nothing_listens_on_any_port() {
    let (supervisor, _events) = Supervisor::start(spec());
    let pid = supervisor.ready().await.unwrap().pid.unwrap();
    let sockets = |pid: &str| -> HashSet<String> {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let target = |entry: fs::DirEntry| Some(fs::read_link(entry.path()).ok()?.to_str()?.to_owned());
        open.filter_map(|entry| target(entry.unwrap())).filter(|name| name.starts_with("socket:")).collect()
    };
    let listed = |table: &str| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap();
    let held = sockets(&pid.to_string());
    assert!(!held.is_empty(), "it has its listener");
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let table = listed(table);
        for socket in &held {
            let inode = format!(" {} ", socket.trim_matches(|c: char| !c.is_ascii_digit()));
            assert!(!table.contains(&inode), "{socket} is on the network: {table}");
        }
    }
    let _ = supervisor.stop().await;
}

/// What the client says that runs as `user`. `/proc/self/exe` is found whatever directories that user may enter.
async fn client(user: u32, path: &str) -> String {
    let mut client = std::process::Command::new("/proc/self/exe");
    client.args([ARGUMENT, path]).uid(user).gid(user);
    let output = tokio::process::Command::from(client).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The client's `main`.
pub(crate) fn connect() -> ExitCode {
    use std::io::{Read, Write};

    let path = env::args().nth(2).unwrap();
    let mut heard = String::new();
    let result = UnixStream::connect(path).and_then(|mut stream| {
        // Whoever is turned away may be so before this is written.
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.read_to_string(&mut heard)
    });
    let said = result.map_or_else(|error| format!("{:?}", error.kind()), |_| format!("heard {heard:?}"));
    std::io::stdout().write_all(said.as_bytes()).unwrap();
    ExitCode::SUCCESS
}

async fn no_other_user_gets_in() {
    // The way that the app has is closed to them.
    let (supervisor, _events) = Supervisor::start(spec());
    supervisor.ready().await.unwrap();
    let debug = format!("{:?}", supervisor.access().await.unwrap());
    let descriptor = debug.split("/proc/self/fd/").nth(1).unwrap().split('"').next().unwrap();
    let path = format!("/proc/{}/fd/{descriptor}", std::process::id());
    assert!(client(0, &path).await.contains("200 OK"), "this user finds it there");
    assert_eq!(client(NOBODY, &path).await, "PermissionDenied");
    let _ = supervisor.stop().await;

    // Where a directory lets them in, the sidecar turns them away.
    let directory = tempfile::tempdir().unwrap();
    let open = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    open(directory.path(), 0o755);
    open(&path, 0o777);
    let mut running = Running::start_on(given(listener, OURS).env("PILLION_TOKEN", TOKEN), &path).await;
    let path = path.to_str().unwrap();
    assert!(client(0, path).await.contains("200 OK"));
    let turned_away = client(NOBODY, path).await;
    assert!(["heard \"\"", "ConnectionReset"].contains(&turned_away.as_str()), "{turned_away}");
    running.says("turned away another user").await;
}

/// What the sidecar's first notice is.
async fn notice(events: &mut pillion::Events) -> String {
    loop {
        if let SidecarEvent::Notice(text) = events.next().await.unwrap() {
            return text;
        }
    }
}

async fn a_sidecar_that_takes_no_socket_is_reached_by_its_port() {
    // A wrapper that stays keeps the listener from the sidecar: the number in LISTEN_PID is the wrapper's.
    let script = format!("\"$0\" {BE_THE_SIDECAR}; exit");
    let program = env::current_exe().unwrap();
    let shell = Program::new("sh").args(["-c", &script]).arg(program).transport(Transport::Local);
    let spec = Spec::run("wrapped", shell);
    let (supervisor, mut events) = Supervisor::start(spec);
    let endpoint = supervisor.ready().await.unwrap();
    assert_eq!(endpoint.url, format!("http://127.0.0.1:{}", endpoint.port.unwrap()));
    let notice = notice(&mut events).await;
    assert!(notice.contains("did not take the listener that it was handed: it has a port"), "{notice}");
    let access = supervisor.access().await.unwrap();
    assert_eq!(get(&access, "/hits", TOKEN).await.0, 200);
    let _ = supervisor.stop().await;
}

async fn one_that_announces_a_socket_it_was_not_handed_is_not_ready() {
    let script = "echo BACKEND_SOCKET:3; read line; exit 7";
    let (supervisor, mut events) =
        Supervisor::start(Spec::run("liar", Program::new("sh").args(["-c", script])));
    assert!(notice(&mut events).await.contains("it was handed none"));
    assert_eq!(supervisor.status().state, State::Starting);
    let _ = supervisor.stop().await;
}
