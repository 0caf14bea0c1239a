//! The ready checks besides health: an HTTP path, a connection, a line, a command, and the start alone.

use std::net::TcpListener;

use integration_tests::{ProcessTree, ReportServer, run};
use pillion::{
    Events, ExecCheck, FailureKind, HttpCheck, LineCheck, Listen, Liveness, OutputStream, Program, Readiness,
    ReadyCheck, Restart, SidecarEvent, Spec, State, StopOutcome, Supervisor,
};

use crate::support::{assert_failure, expire, first, notice, state, status, tree};

fn http(check: HttpCheck) -> ReadyCheck {
    ReadyCheck::Http(check)
}

fn line(expression: &str) -> LineCheck {
    LineCheck::new(expression).unwrap()
}

fn exec(program: impl Into<std::ffi::OsString>, steps: &str) -> ReadyCheck {
    ReadyCheck::Exec(ExecCheck::new(program).args(steps.split_ascii_whitespace()))
}

fn assigned(tree: &ProcessTree, steps: &str) -> Program {
    tree.fake(steps).listen(Listen::Assigned).port_env("MY_PORT")
}

fn start(spec: Spec, check: ReadyCheck) -> (Supervisor, Events) {
    Supervisor::start(spec.ready_check(check))
}

/// The words of the first status that says what the start waits for.
async fn waits_for(events: &mut Events) -> String {
    status(events, |status| status.state == State::Starting && status.reason.is_some()).await.reason.unwrap()
}

#[test]
fn a_path_is_ready_when_it_answers_the_expected_status() {
    run(async {
        for (server, check) in [
            ("/ready", HttpCheck::new("/ready")),
            ("/ready", HttpCheck::new("/other").status(404)),
            ("204", HttpCheck::new("/")),
            ("401", HttpCheck::new("/").status(401)),
            // Another instance in the body of a path that is not the health path means nothing.
            ("foreign", HttpCheck::new("/")),
        ] {
            let tree = tree();
            let sidecar = tree.sidecar(&format!("listen {server} announce term exit 0"));
            let (supervisor, _) = start(sidecar, http(check.clone()));
            let endpoint = supervisor.ready().await.unwrap_or_else(|failure| panic!("{check:?}: {failure}"));
            assert_eq!(endpoint.version, None);
            let _ = supervisor.stop().await;
        }
    });
}

#[test]
fn another_status_is_not_ready_and_is_named() {
    run(async {
        let tree = tree();
        let sidecar = |check: HttpCheck| {
            let spec = tree.sidecar("listen ok announce park").ready_check(http(check));
            move || spec.clone()
        };
        expire(
            sidecar(HttpCheck::new("/a").status(204)),
            &["GET /a on", "did not answer 204", "answered 200"],
        )
        .await;
        let spec = tree.sidecar("listen 500 announce park").ready_check(http(HttpCheck::new("/a")));
        expire(move || spec.clone(), &["GET /a on", "did not answer 2xx", "it answered 500"]).await;
    });
}

#[test]
fn a_port_that_accepts_a_connection_is_enough_for_tcp() {
    run(async {
        let tree = tree();
        let announced = tree.sidecar("listen silent announce term exit 0");
        let given = tree.spec(assigned(&tree, "listen-on MY_PORT silent term exit 0"));
        for spec in [announced, given] {
            let (supervisor, _) = start(spec, ReadyCheck::Tcp);
            let endpoint = supervisor.ready().await.unwrap();
            let reason = supervisor.status().reason.unwrap();
            assert_eq!(reason, format!("127.0.0.1:{} accepts connections", endpoint.port.unwrap()));
            assert!(matches!(supervisor.stop().await, StopOutcome::Graceful(_)));
        }
    });
}

#[test]
fn a_port_of_another_program_is_not_ready_for_tcp() {
    run(async {
        let (tree, other) = (tree(), TcpListener::bind("127.0.0.1:0").unwrap());
        let steps = format!("out BACKEND_PORT:{}\\n park", other.local_addr().unwrap().port());
        let owner = format!("process {}", std::process::id());
        let sidecar = || tree.sidecar(&steps).ready_check(ReadyCheck::Tcp);
        expire(sidecar, &["accepted no connection", "another program answered", &owner]).await;
    });
}

#[test]
fn a_server_that_does_not_take_its_port_is_told_how() {
    run(async {
        let tree = tree();
        let spec = tree.spec(assigned(&tree, "park")).ready_check(ReadyCheck::Tcp);
        expire(
            move || spec.clone(),
            &["was given", "accepted no connection", "it must take that port from its arguments"],
        )
        .await;
    });
}

#[test]
fn a_port_that_refuses_connections_later_is_noticed_by_tcp() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        // The second program has no listener.
        let steps = format!("listen silent announce report {} up wait exec park", reports.port());
        let spec = tree
            .sidecar(&steps)
            .restart(Restart::OnFailure)
            .liveness(Liveness::new(std::time::Duration::from_millis(50), 2));
        let (supervisor, mut events) = start(spec, ReadyCheck::Tcp);
        let before = supervisor.ready().await.unwrap();
        reports.wait_for("up").await.resume().await;
        let stopping = state(&mut events, State::Stopping).await;
        assert_failure(
            &stopping.failure.unwrap(),
            FailureKind::Hung,
            &["nothing accepts connections at its address"],
        );
        let mut next = reports.wait_for("up").await;
        assert_ne!(supervisor.ready().await.unwrap().pid, before.pid);
        next.resume().await;
        let _ = supervisor.kill().await;
    });
}

#[test]
fn a_line_makes_ready_and_can_give_the_port() {
    run(async {
        for (check, steps, port) in [
            (line("^ready$"), "out not\\sready\\nready\\n", false),
            (
                line("accept connections").stream(OutputStream::Stderr),
                "err to\\saccept\\sconnections\\n",
                false,
            ),
            (
                line(r"on http://[^:]+:(?<port>\d+)"),
                "listen bare err up\\son\\shttp://127.0.0.1:\\p\\n",
                true,
            ),
            (line("up"), "listen bare announce out up\\n", true),
        ] {
            let tree = tree();
            let sidecar = tree.sidecar(&format!("{steps} term exit 0"));
            let (supervisor, _) = start(sidecar, ReadyCheck::Line(check.clone()));
            let endpoint = supervisor.ready().await.unwrap();
            assert_eq!((endpoint.port.is_some(), endpoint.url.is_some()), (port, port), "{check}");
            assert_eq!(supervisor.status().reason.unwrap(), format!("it wrote {check}"));
            assert!(matches!(supervisor.stop().await, StopOutcome::Graceful(_)));
        }
    });
}

#[test]
fn a_line_counts_only_on_its_stream_and_when_it_is_complete() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let check = line("ready").stream(OutputStream::Stderr);
        let steps = format!("out ready\\n err rea report {} up wait err dy\\n term exit 0", reports.port());
        let (supervisor, mut events) = start(tree.sidecar(&steps), ReadyCheck::Line(check));
        assert_eq!(waits_for(&mut events).await, "waiting for a line on stderr that matches \"ready\"");
        let mut sidecar = reports.wait_for("up").await;
        // The line on stdout was read, and did not count.
        first(&mut events, |event| matches!(event, SidecarEvent::Output(_)).then_some(())).await;
        assert_eq!(supervisor.status().state, State::Starting);
        sidecar.resume().await;
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_line_with_an_impossible_port_is_reported_and_a_later_one_counts() {
    run(async {
        let tree = tree();
        let check = ReadyCheck::Line(line(r"port (?<port>\d+)"));
        let steps = "out port\\s70000\\n report";
        let reports = ReportServer::new().await;
        let steps = format!("{steps} {} said wait listen bare out port\\s\\p\\n term exit 0", reports.port());
        let (supervisor, mut events) = start(tree.sidecar(&steps), check);
        let mut sidecar = reports.wait_for("said").await;
        assert!(notice(&mut events).await.starts_with("its ready line has the port \"70000\""));
        assert_eq!(supervisor.status().state, State::Starting);
        sidecar.resume().await;
        assert!(supervisor.ready().await.unwrap().port.is_some());
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_line_that_does_not_come_is_named() {
    run(async {
        let tree = tree();
        let sidecar = || tree.sidecar("out hello\\n park").ready_check(ReadyCheck::Line(line("ready")));
        expire(sidecar, &["did not write a line that matches \"ready\" within"]).await;
        let (supervisor, _) = start(tree.sidecar("exit 3"), ReadyCheck::Line(line("ready")));
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::ExitedEarly, &["exited with code 3", "before it was ready"]);
    });
}

#[test]
fn a_command_is_repeated_until_it_exits_with_0() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let file = folder.path().join("ready");
        let check =
            ReadyCheck::Exec(ExecCheck::new("test").args([std::ffi::OsStr::new("-e"), file.as_os_str()]));
        let (supervisor, mut events) = start(tree.sidecar("term exit 0"), check);
        let waits = waits_for(&mut events).await;
        assert_eq!(waits, format!("waiting for `test -e {}` to exit with code 0", file.display()));
        std::fs::write(&file, "").unwrap();
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_command_that_fails_is_named_with_its_exit_and_its_last_words() {
    run(async {
        let tree = tree();
        let fake = env!("CARGO_BIN_EXE_fake-sidecar");
        let spec = tree.sidecar("park").ready_check(exec(fake, "err no\\sresponse\\n exit 2"));
        let parts = ["did not exit with code 0 within", "it exited with code 2: \"no response\""];
        expire(move || spec.clone(), &parts).await;
    });
}

#[test]
fn a_missing_command_fails_the_start_at_once() {
    run(async {
        let tree = tree();
        let (supervisor, _) = start(tree.sidecar("park"), exec("no-such-program", ""));
        let failure = supervisor.ready().await.unwrap_err();
        let parts = ["cannot be checked by `no-such-program`", "no program no-such-program in PATH"];
        assert_failure(&failure, FailureKind::ReadyTimeout, &parts);
    });
}

#[test]
fn a_command_gets_the_environment_and_directory_of_the_sidecar_without_the_token() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let program = tree
            .fake("env PILLION_TOKEN term exit 0")
            .env("MINE", "yes")
            .env("PILLION_TOKEN", "secret")
            .current_dir(folder.path());
        let said = folder.path().join("said");
        let script = "echo \"$MINE|${PILLION_TOKEN-none}|$(pwd -P)|$(cat)\" > said";
        let check = ReadyCheck::Exec(ExecCheck::new("sh").args(["-c", script]));
        let (supervisor, _) = start(tree.spec(program), check);
        supervisor.ready().await.unwrap();
        let expected = format!("yes|none|{}|\n", folder.path().canonicalize().unwrap().display());
        assert_eq!(std::fs::read_to_string(said).unwrap(), expected);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_command_under_way_is_killed_with_its_children_when_the_sidecar_is_stopped() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let fake = env!("CARGO_BIN_EXE_fake-sidecar");
        let port = reports.port();
        // Child and daemon, in any order.
        let steps = format!("fork report {port} up park ; daemon report {port} up park ; park");
        let (supervisor, _) = start(tree.sidecar("term exit 0"), exec(fake, &steps));
        let children = [reports.wait_for("up").await, reports.wait_for("up").await];
        assert!(matches!(supervisor.stop().await, StopOutcome::Graceful(_)));
        for child in children {
            child.wait_death().await;
        }
    });
}

#[test]
fn an_attempt_that_takes_too_long_is_killed_and_repeated() {
    run(async {
        let (tree, folder) = (tree(), tempfile::tempdir().unwrap());
        let (first, reports) = (folder.path().join("first"), ReportServer::new().await);
        let script = format!(
            "mkdir {} && exec \"$FAKE\" ignore-term report {} hangs park; exit 0",
            first.display(),
            reports.port()
        );
        let check = ReadyCheck::Exec(ExecCheck::new("sh").args(["-c", &script]));
        let (supervisor, _) = start(tree.sidecar("term exit 0"), check);
        let hanging = reports.wait_for("hangs").await;
        supervisor.ready().await.unwrap();
        hanging.wait_death().await;
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_started_worker_is_ready_without_an_address_and_says_so() {
    run(async {
        let tree = tree();
        let (supervisor, _) = start(tree.sidecar("term exit 0"), ReadyCheck::Started);
        let endpoint = supervisor.ready().await.unwrap();
        assert_eq!((endpoint.url.as_deref(), endpoint.port), (None, None));
        assert!(endpoint.pid.is_some());
        let status = supervisor.status();
        assert_eq!((status.state, status.readiness), (State::Ready, Readiness::Up));
        assert_eq!((status.url, status.reason.as_deref()), (None, Some("it was started")));
        for failure in [
            supervisor.access().await.unwrap_err(),
            endpoint.tcp_port().unwrap_err(),
            endpoint.base_url().unwrap_err(),
        ] {
            assert_failure(&failure, FailureKind::NoPort, &["sidecar is ready, but it has no address"]);
        }
        assert!(matches!(supervisor.stop().await, StopOutcome::Graceful(_)));
    });
}

#[test]
fn a_crash_of_a_started_worker_is_noticed_and_it_is_restarted() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let spec = tree.sidecar(&format!("report {} up wait exit 3", reports.port()));
        let (supervisor, mut events) = start(spec.restart(Restart::OnFailure), ReadyCheck::Started);
        let before = state(&mut events, State::Ready).await;
        reports.wait_for("up").await.resume().await;
        let down = state(&mut events, State::BackingOff).await;
        assert_failure(
            &down.failure.unwrap(),
            FailureKind::Crashed,
            &["exited with code 3 while it was in use"],
        );
        assert_ne!(state(&mut events, State::Ready).await.pid, before.pid);
        let _ = supervisor.kill().await;
    });
}

#[test]
fn a_worker_may_announce_its_address_later() {
    run(async {
        let (tree, reports) = (tree(), ReportServer::new().await);
        let steps = format!("report {} up wait listen bare announce term exit 0", reports.port());
        let (supervisor, mut events) = start(tree.sidecar(&steps), ReadyCheck::Started);
        supervisor.ready().await.unwrap();
        reports.wait_for("up").await.resume().await;
        let told = status(&mut events, |status| status.url.is_some()).await;
        assert_eq!(told.state, State::Ready);
        supervisor.access().await.unwrap();
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_private_worker_gets_no_token_and_its_port_is_not_used() {
    run(async {
        let tree = tree();
        let steps = "env PILLION_TOKEN listen bare announce term exit 0";
        let program = tree.fake(steps).private(true);
        let (supervisor, mut events) = start(tree.spec(program), ReadyCheck::Started);
        supervisor.ready().await.unwrap();
        crate::support::line(&mut events, "PILLION_TOKEN is unset").await;
        let notice = notice(&mut events).await;
        assert!(notice.contains("which is ignored: `private` is on"), "{notice}");
        assert_eq!(supervisor.status().url, None);
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_private_sidecar_with_a_port_and_another_check_does_not_start() {
    run(async {
        let tree = tree();
        let program = tree.fake("listen ok announce park").private(true);
        let (supervisor, _) = start(tree.spec(program), ReadyCheck::Tcp);
        let failure = supervisor.ready().await.unwrap_err();
        assert_failure(&failure, FailureKind::Spawn, &["`ready` is \"tcp\"", "Set `private` to false"]);
    });
}
