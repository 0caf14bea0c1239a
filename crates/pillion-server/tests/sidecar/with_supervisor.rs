//! Supervisor and sidecar together: the supervisor passes the token, and the sidecar demands it.

use std::{env, time::Duration};

use libtest_mimic::Trial;
use pillion::{Endpoint, FailureKind, Program, SidecarEvent, Spec, State, Supervisor, Token};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{test_sidecar::ARGUMENT, token::TOKEN};

pub(crate) fn trials() -> Vec<Trial> {
    #[cfg_attr(not(target_os = "linux"), expect(unused_mut, reason = "Linux has one test more"))]
    let mut all = trials![
        a_private_sidecar_becomes_ready_and_demands_its_token,
        a_custom_health_path_is_probed_after_the_proof,
        a_restart_invalidates_the_old_token,
        two_supervisors_of_one_spec_have_different_tokens,
        no_event_status_or_debug_output_contains_the_token,
        a_sidecar_that_is_not_private_gets_no_token,
    ];
    #[cfg(target_os = "linux")]
    all.extend(trials![proc_environ_of_every_process_is_free_of_the_token]);
    all
}

fn private() -> Spec {
    spec(program().private(true))
}

fn spec(program: Program) -> Spec {
    Spec::run("private", program)
}

fn program() -> Program {
    Program::new(env::current_exe().unwrap()).arg(ARGUMENT).env("RUST_LOG", "trace")
}

/// The token of the run that is ready.
async fn token(supervisor: &Supervisor) -> Token {
    supervisor.access().await.unwrap().token.unwrap()
}

/// The status code and the body of `GET path`, with this token if there is one.
async fn get(endpoint: &Endpoint, path: &str, token: Option<&str>) -> (u16, String) {
    let port = endpoint.port.unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port.get())).await.unwrap();
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let host = format!("Host: 127.0.0.1:{port}\r\nConnection: close\r\n");
    stream.write_all(format!("GET {path} HTTP/1.1\r\n{host}{bearer}\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn a_private_sidecar_becomes_ready_and_demands_its_token() {
    let (supervisor, _events) = Supervisor::start(private());
    let endpoint = supervisor.ready().await.unwrap();
    assert_eq!(endpoint.version.as_deref(), Some("1.2.3"), "a client with the token sees the version");
    let token = token(&supervisor).await;
    assert_eq!(get(&endpoint, "/headers", None).await.0, 401);
    assert_eq!(get(&endpoint, "/headers", Some(TOKEN)).await.0, 401);
    assert_eq!(get(&endpoint, "/headers", Some(token.reveal())).await.0, 200);
    let _ = supervisor.stop().await;
    assert_eq!(supervisor.access().await.unwrap_err().kind, FailureKind::Stopped);
}

async fn a_custom_health_path_is_probed_after_the_proof() {
    // This handler demands the token.
    let (supervisor, _events) = Supervisor::start(private().health_path("/headers"));
    supervisor.ready().await.unwrap();
    let _ = supervisor.stop().await;
    // The start must not expire before the sidecar has answered. How soon it answers depends on the machine.
    let mut failures = Vec::new();
    for limit in [1, 5, 40].map(Duration::from_secs) {
        let spec = private().health_path("/nowhere").ready_timeout(limit);
        let failure = Supervisor::start(spec).0.ready().await.unwrap_err();
        if failure.message.contains("/nowhere") && failure.message.contains("418") {
            return;
        }
        failures.push(failure);
    }
    panic!("{failures:?}");
}

async fn a_restart_invalidates_the_old_token() {
    let (supervisor, _events) = Supervisor::start(private());
    supervisor.ready().await.unwrap();
    let old = token(&supervisor).await;
    let endpoint = supervisor.restart().await.unwrap();
    let new = token(&supervisor).await;
    assert_ne!(old, new);
    assert_eq!(get(&endpoint, "/headers", Some(old.reveal())).await.0, 401);
    assert_eq!(get(&endpoint, "/headers", Some(new.reveal())).await.0, 200);
    let _ = supervisor.stop().await;
}

async fn two_supervisors_of_one_spec_have_different_tokens() {
    let spec = private();
    let (one, _one) = Supervisor::start(spec.clone());
    let (two, _two) = Supervisor::start(spec);
    let (first, second) = (one.ready().await.unwrap(), two.ready().await.unwrap());
    assert_ne!(token(&one).await, token(&two).await);
    for (endpoint, supervisor) in [(first, &one), (second, &two)] {
        let token = token(supervisor).await;
        assert_eq!(get(&endpoint, "/headers", Some(token.reveal())).await.0, 200);
        let _ = supervisor.stop().await;
    }
}

async fn no_event_status_or_debug_output_contains_the_token() {
    let (supervisor, mut events) = Supervisor::start(private());
    let endpoint = supervisor.ready().await.unwrap();
    let token = token(&supervisor).await;
    let _ = supervisor.stop().await;
    let mut shown = format!("{endpoint:?} {supervisor:?} {:?} {token:?}", supervisor.status());
    loop {
        let event = events.next().await.unwrap();
        shown += &format!("{event:?}");
        match event {
            SidecarEvent::Output(batch) => shown.extend(batch.lines().map(|line| line.text().to_owned())),
            SidecarEvent::Status(status) if status.state == State::Stopped => break,
            _ => {}
        }
    }
    assert!(shown.contains("listening on"), "the output is included: {shown}");
    assert!(!shown.contains(token.reveal()), "{shown}");
}

/// Runs twice: the second time in a process that has a token itself, like a supervisor inside a sidecar.
async fn a_sidecar_that_is_not_private_gets_no_token() {
    if env::var_os("PILLION_TOKEN").is_none() {
        let name = concat!(module_path!(), "::a_sidecar_that_is_not_private_gets_no_token");
        let mut again = tokio::process::Command::new(env::current_exe().unwrap());
        let again = again.args(["--exact", name]).env("PILLION_TOKEN", TOKEN).output().await.unwrap();
        let said = String::from_utf8(again.stdout).unwrap();
        assert!(again.status.success() && said.contains("1 passed"), "{said}");
    }
    let (supervisor, _events) = Supervisor::start(spec(program()));
    let endpoint = supervisor.ready().await.unwrap();
    assert_eq!(supervisor.access().await.unwrap().token, None);
    assert_eq!(get(&endpoint, "/headers", None).await.0, 200);
    let _ = supervisor.stop().await;
}

#[cfg(target_os = "linux")]
async fn proc_environ_of_every_process_is_free_of_the_token() {
    let (supervisor, _events) = Supervisor::start(private());
    let pid = supervisor.ready().await.unwrap().pid.unwrap();
    let token = token(&supervisor).await;
    // The instance identifies the sidecar and its guard.
    let instance = variable(pid, "PILLION_INSTANCE").unwrap();
    let numbers = std::fs::read_dir("/proc").unwrap();
    let numbers = numbers.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    let mut marked = 0;
    for pid in numbers {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let holds = |text: &str| environment.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!holds(token.reveal()), "the environment of process {pid} shows the token");
        marked += usize::from(holds(&instance));
    }
    assert_eq!(marked, 2);
    let _ = supervisor.stop().await;
}

/// The value of a variable in the initial environment of a process.
#[cfg(target_os = "linux")]
fn variable(pid: u32, name: &str) -> Option<String> {
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let value =
        environment.split('\0').find_map(|entry| entry.strip_prefix(name).and_then(|v| v.strip_prefix('=')));
    value.map(str::to_owned)
}
