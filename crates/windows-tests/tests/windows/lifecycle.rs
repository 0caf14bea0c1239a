//! Start, readiness, output and restart.

use pillion::{
    ExecCheck, FailureKind, Program, ReadyCheck, Restart, SidecarEvent, Spec, State, StopOutcome, Supervisor,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use windows_tests::{ReportServer, run};

use crate::support::{SIDECAR, program, ready, sidecar, spec, state, words};

#[test]
fn a_sidecar_on_pillion_server_becomes_ready_and_stops_on_request() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = Supervisor::start(sidecar("report PORT leader pillion-server", &reports));
        let endpoint = supervisor.ready().await.unwrap();
        let leader = reports.wait_for("leader").await;
        // Its health response contains the version and the instance. The supervisor rejects another instance.
        assert_eq!(endpoint.version.as_deref(), Some("1.2.3"));
        assert_eq!(endpoint.url, Some(format!("http://127.0.0.1:{}", endpoint.port.unwrap())));
        let StopOutcome::Graceful(exit) = supervisor.stop().await else { panic!("the sidecar was killed") };
        assert!(exit.is_success());
        leader.wait_death().await;
    });
}

#[test]
fn a_child_with_the_stdin_of_a_sidecar_does_not_hang() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = ready(sidecar("report PORT leader pillion-server", &reports)).await;
        let leader = reports.wait_for("leader").await;
        let port = supervisor.status().port.unwrap().get();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!("GET /child HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n9"), "{answer}");
        // The sidecar still has its lifeline.
        let StopOutcome::Graceful(exit) = supervisor.stop().await else { panic!("the sidecar was killed") };
        assert!(exit.is_success());
        leader.wait_death().await;
    });
}

#[test]
fn the_program_of_a_running_copy_can_be_replaced() {
    run(async {
        let reports = ReportServer::new().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("api.exe");
        std::fs::copy(SIDECAR, &file).unwrap();
        let program =
            |copy| Program::new(&file).args(words("report PORT leader serve eof", &reports)).run_copy(copy);
        for (copy, replaced) in [(false, false), (true, true)] {
            let (supervisor, _) = ready(spec(program(copy))).await;
            let leader = reports.wait_for("leader").await;
            assert_eq!(std::fs::write(&file, std::fs::read(SIDECAR).unwrap()).is_ok(), replaced);
            let _ = supervisor.stop().await;
            leader.wait_death().await;
        }
    });
}

#[test]
fn sidecars_of_one_program_start_from_their_copies_at_once() {
    run(async {
        let reports = ReportServer::new().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("api.exe");
        std::fs::copy(SIDECAR, &file).unwrap();
        let program = || Program::new(&file).args(words("serve eof", &reports)).run_copy(true);
        let mut starts = tokio::task::JoinSet::new();
        for _ in 0..8 {
            starts.spawn(ready(spec(program())));
        }
        for (supervisor, _) in starts.join_all().await {
            let _ = supervisor.stop().await;
        }
    });
}

#[test]
fn a_handover_on_windows_makes_no_notice() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, mut events) = Supervisor::start(spec(program("serve eof", &reports).handover(true)));
        loop {
            match events.next().await.unwrap() {
                SidecarEvent::Notice(notice) => panic!("{notice:?}"),
                SidecarEvent::Status(status) if status.state == State::Ready => break,
                _ => {}
            }
        }
        let _ = supervisor.stop().await;
    });
}

#[test]
fn the_relative_path_of_a_check_begins_in_the_directory_of_the_sidecar() {
    run(async {
        let reports = ReportServer::new().await;
        let folder = tempfile::tempdir().unwrap();
        // With a space and letters outside ASCII, and without the suffix that Windows wants.
        let own = folder.path().join("a façade");
        std::fs::create_dir(&own).unwrap();
        std::fs::copy(SIDECAR, own.join("check.exe")).unwrap();
        let check = ReadyCheck::Exec(ExecCheck::new("./check").args(["exit", "0"]));
        // Absolute also if Cargo ran on another system.
        let program = Program::new(std::path::absolute(SIDECAR).unwrap())
            .args(words("report PORT leader eof exit 0", &reports))
            .private(false)
            .current_dir(&own);
        let (supervisor, _) = ready(spec(program).ready_check(check)).await;
        let leader = reports.wait_for("leader").await;
        let _ = supervisor.stop().await;
        leader.wait_death().await;
    });
}

#[test]
fn a_restart_gives_a_new_process() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = ready(sidecar("report PORT leader pillion-server", &reports)).await;
        let (before, old) = (supervisor.status().pid, reports.wait_for("leader").await);
        let after = supervisor.restart().await.unwrap();
        old.wait_death().await;
        assert_ne!(before, after.pid);
        let new = reports.wait_for("leader").await;
        let _ = supervisor.stop().await;
        new.wait_death().await;
    });
}

#[test]
fn a_crash_is_followed_by_a_restart_and_a_swap_replaces_the_process() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "report PORT leader serve wait exit 70";
        let (supervisor, mut events) = ready(sidecar(steps, &reports).restart(Restart::OnFailure)).await;
        let (before, mut old) = (supervisor.status().pid, reports.wait_for("leader").await);
        old.resume().await;
        state(&mut events, State::BackingOff).await;
        old.wait_death().await;
        assert_ne!(supervisor.ready().await.unwrap().pid, before);
        let second = reports.wait_for("leader").await;
        // The replaced process ignores the end of its stdin: the kill ends it.
        supervisor.swap_to(sidecar("report PORT leader serve eof exit 0", &reports)).await.unwrap();
        let third = reports.wait_for("leader").await;
        assert!(matches!(supervisor.kill().await, StopOutcome::Killed(_) | StopOutcome::Graceful(_)));
        second.wait_death().await;
        third.wait_death().await;
    });
}

#[test]
fn a_failed_start_says_why() {
    run(async {
        let reports = ReportServer::new().await;
        let (supervisor, _) = Supervisor::start(sidecar("out why exit 3", &reports));
        let failure = supervisor.ready().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ExitedEarly);
        assert!(failure.message.contains("exited with code 3"), "{}", failure.message);
        assert_eq!(failure.detail.tail, ["why"]);

        let (supervisor, _) = Supervisor::start(Spec::run("sidecar", r"C:\nowhere\sidecar.exe"));
        let failure = supervisor.ready().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Spawn);
        assert!(failure.message.contains("no such file"), "{}", failure.message);
    });
}

#[test]
fn output_is_read_to_its_last_line() {
    run(async {
        let reports = ReportServer::new().await;
        let (_supervisor, mut events) = Supervisor::start(sidecar("lines 50000 out \\end exit 0", &reports));
        let (mut last, mut count) = (String::new(), 0);
        loop {
            match events.next().await.unwrap() {
                SidecarEvent::Output(batch) => {
                    count += batch.len();
                    last = batch.lines().last().map_or(last, |line| line.text());
                }
                SidecarEvent::Status(status) if status.state == State::Failed => break,
                SidecarEvent::Missed(_) => count = 50_001,
                _ => {}
            }
        }
        assert_eq!((last.as_str(), count >= 50_001), ("\\end", true));
    });
}

#[test]
fn an_exit_is_noticed_while_a_grandchild_holds_the_pipes() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "child-no-stdin report PORT holder wait exit 0 ; report PORT leader wait out last exit 4";
        let (supervisor, _) = Supervisor::start(sidecar(steps, &reports));
        let mut holder = reports.wait_for("holder").await;
        reports.wait_for("leader").await.resume().await;
        let failure = supervisor.ready().await.unwrap_err();
        assert_eq!((failure.kind, failure.detail.tail), (FailureKind::ExitedEarly, vec!["last".to_owned()]));
        holder.resume().await;
        holder.wait_death().await;
    });
}
