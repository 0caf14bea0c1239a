//! An app whose own program is its guard: however the app ends, its sidecars have their grace period.

use std::{
    fs,
    net::TcpListener,
    num::NonZeroU16,
    path::Path,
    process::{Command, Stdio},
};

use pillion::{Listen, SidecarEvent, Supervisor};
use windows_tests::{ReportServer, SURVIVAL_LIMIT, run};
use winsafe::{HPROCESS, co, guard::CloseHandleGuard};

use crate::support::{HOST, HostProcess, program, spec};

/// A sidecar that needs the test's permission to end, after it has written more than its pipe holds.
const SLOW: &str = "report PORT leader serve eof more asked lines 20000 wait more saved exit 0";

/// Waits until the guard has ended.
async fn ended(guard: CloseHandleGuard<HPROCESS>) {
    let limit = u32::try_from(SURVIVAL_LIMIT.as_millis()).unwrap();
    let waited = tokio::task::spawn_blocking(move || guard.WaitForSingleObject(Some(limit))).await.unwrap();
    assert_eq!(waited.unwrap(), co::WAIT::OBJECT_0, "the guard lives");
}

fn only(guards: Vec<CloseHandleGuard<HPROCESS>>) -> CloseHandleGuard<HPROCESS> {
    let [guard] = <[_; 1]>::try_from(guards).unwrap_or_else(|guards| panic!("{} guards", guards.len()));
    guard
}

/// The sidecar of an app that ends so is asked to stop, and saves its state.
fn assert_saved(death: &str) {
    run(async {
        let reports = ReportServer::new().await;
        let app = HostProcess::with_guard(Path::new(HOST), &reports, ["ready", death], SLOW, &[]).await;
        let guard = only(app.guards());
        let mut leader = reports.wait_for("leader").await;
        let end = async {
            match death {
                "park" => app.terminated().await,
                _ => app.ends_itself().await,
            }
        };
        // Together: a runtime that is dropped waits for the end of the sidecar's output.
        let save = async {
            assert_eq!(leader.line().await, "asked");
            leader.resume().await;
            assert_eq!(leader.line().await, "saved");
            leader.wait_death().await;
        };
        tokio::join!(end, save);
        ended(guard).await;
    });
}

#[test]
fn the_sidecar_of_a_terminated_app_saves_its_state() {
    assert_saved("park");
}

#[test]
fn the_sidecar_of_an_app_that_exits_saves_its_state() {
    assert_saved("exit");
}

#[test]
fn the_sidecar_of_an_app_that_aborts_saves_its_state() {
    assert_saved("abort");
}

#[test]
fn the_sidecar_of_an_app_that_panics_saves_its_state() {
    assert_saved("panic");
}

#[test]
fn the_sidecar_of_an_app_that_drops_its_supervisor_saves_its_state() {
    assert_saved("drop");
}

#[test]
fn the_sidecar_of_an_app_that_leaks_its_supervisor_saves_its_state() {
    assert_saved("leak");
}

#[test]
fn a_sidecar_that_needs_two_seconds_has_them() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "report PORT leader serve eof sleep 2000 more saved exit 0";
        let app = HostProcess::with_guard(Path::new(HOST), &reports, ["ready", "park"], steps, &[]).await;
        let mut leader = reports.wait_for("leader").await;
        app.terminated().await;
        assert_eq!(leader.line().await, "saved");
        leader.wait_death().await;
    });
}

#[test]
fn all_processes_of_a_deaf_sidecar_are_killed_after_the_grace_period() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "child-no-stdin detached report PORT daemon park ; exit 0 ; report PORT leader serve eof more asked park";
        let grace = [("GRACE_MS", "1000")];
        let app = HostProcess::with_guard(Path::new(HOST), &reports, ["ready", "park"], steps, &grace).await;
        let guard = only(app.guards());
        let (daemon, mut leader) = (reports.wait_for("daemon").await, reports.wait_for("leader").await);
        app.terminated().await;
        assert_eq!(leader.line().await, "asked");
        leader.wait_death().await;
        daemon.wait_death().await;
        ended(guard).await;
    });
}

#[test]
fn the_server_behind_a_wrapper_that_has_ended_saves_its_state() {
    run(async {
        let reports = ReportServer::new().await;
        let steps =
            "child report PORT server serve eof wait more saved exit 0 ; report PORT wrapper eof exit 0";
        let app = HostProcess::with_guard(Path::new(HOST), &reports, ["ready", "park"], steps, &[]).await;
        let (mut server, wrapper) = (reports.wait_for("server").await, reports.wait_for("wrapper").await);
        app.terminated().await;
        wrapper.wait_death().await;
        server.resume().await;
        assert_eq!(server.line().await, "saved");
        server.wait_death().await;
    });
}

#[test]
fn the_declared_line_asks_the_sidecar_of_a_terminated_app() {
    run(async {
        let reports = ReportServer::new().await;
        let line = [("STOP_LINE", "quit")];
        let steps = "report PORT leader serve read wait exit 0";
        for moment in ["ready", "stopping"] {
            let app =
                HostProcess::with_guard(Path::new(HOST), &reports, [moment, "park"], steps, &line).await;
            let mut leader = reports.wait_for("leader").await;
            app.terminated().await;
            let read = leader.line().await;
            // An app that is killed just after it has written the line cannot say so to its guard.
            let twice = moment == "stopping" && read == r#""quit\nquit\n""#;
            assert!(twice || read == r#""quit\n""#, "{moment}: {read}");
            leader.resume().await;
            leader.wait_death().await;
        }
    });
}

#[test]
fn the_declared_request_asks_the_sidecar_of_a_terminated_app() {
    run(async {
        let reports = ReportServer::new().await;
        // Deaf to the end of its stdin.
        let (steps, http) = ("report PORT leader serve park", [("STOP_HTTP", "POST /shutdown")]);
        let app = HostProcess::with_guard(Path::new(HOST), &reports, ["ready", "park"], steps, &http).await;
        let leader = reports.wait_for("leader").await;
        app.terminated().await;
        leader.wait_death().await;
    });
}

/// As after a crash, when the user opens the app again at once.
#[test]
fn a_start_waits_for_its_port_while_the_guard_of_a_terminated_app_stops_the_server_there() {
    run(async {
        let reports = ReportServer::new().await;
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = NonZeroU16::new(free.local_addr().unwrap().port()).unwrap();
        drop(free);
        let steps = format!("report PORT leader serve-on {port} eof more asked wait exit 0");
        let fixed = port.to_string();
        let fixed = [("FIXED_PORT", fixed.as_str())];
        let app = HostProcess::with_guard(Path::new(HOST), &reports, ["ready", "park"], &steps, &fixed).await;
        let mut leader = reports.wait_for("leader").await;
        app.terminated().await;
        assert_eq!(leader.line().await, "asked");
        let next = program(&format!("serve-on {port} eof exit 0"), &reports).listen(Listen::Fixed(port));
        let (supervisor, mut events) = Supervisor::start(spec(next));
        let notice = loop {
            match events.next().await.unwrap() {
                SidecarEvent::Notice(notice) if notice.contains("waits for port") => break notice,
                SidecarEvent::Status(status) => assert!(status.pid.is_none(), "{status:?}"),
                _ => {}
            }
        };
        assert!(notice.contains(&format!("waits for port {port}")), "{notice}");
        leader.resume().await;
        leader.wait_death().await;
        supervisor.ready().await.unwrap();
        let _ = supervisor.stop().await;
    });
}

#[test]
fn a_stop_needs_no_guard_and_leaves_none() {
    run(async {
        let reports = ReportServer::new().await;
        for line in [&[][..], &[("STOP_LINE", "quit")]] {
            let steps = "report PORT leader serve read exit 0";
            let app =
                HostProcess::with_guard(Path::new(HOST), &reports, ["ready", "stop"], steps, line).await;
            let guard = only(app.guards());
            let mut leader = reports.wait_for("leader").await;
            app.ends_itself().await;
            leader.line().await;
            leader.wait_death().await;
            ended(guard).await;
        }
    });
}

#[test]
fn a_killed_guard_takes_no_sidecar_along_and_leaves_none_behind() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "report PORT leader serve wait more alive wait exit 0";
        let app = HostProcess::with_guard(Path::new(HOST), &reports, ["ready", "park"], steps, &[]).await;
        let mut leader = reports.wait_for("leader").await;
        let guard = only(app.guards());
        guard.TerminateProcess(1).unwrap();
        ended(guard).await;
        leader.resume().await;
        assert_eq!(leader.line().await, "alive");
        app.terminated().await;
        leader.wait_death().await;
    });
}

#[test]
fn a_program_without_the_call_is_not_started_as_a_guard() {
    run(async {
        let reports = ReportServer::new().await;
        let steps = "report PORT leader serve eof park";
        let app = HostProcess::start(&reports, ["ready", "park"], steps, None).await;
        assert!(app.guards().is_empty());
        let leader = reports.wait_for("leader").await;
        app.terminated().await;
        leader.wait_death().await;
    });
}

#[test]
fn an_app_can_be_replaced_when_its_guard_has_ended() {
    run(async {
        let (reports, folder) = (ReportServer::new().await, tempfile::tempdir().unwrap());
        let host = folder.path().join("windows-host-copy.exe");
        fs::copy(HOST, &host).unwrap();
        let steps = "report PORT leader serve eof wait exit 0";
        let app = HostProcess::with_guard(&host, &reports, ["ready", "park"], steps, &[]).await;
        let guard = only(app.guards());
        let mut leader = reports.wait_for("leader").await;
        app.terminated().await;
        let overwrite = || fs::OpenOptions::new().write(true).open(&host);
        assert!(overwrite().is_err(), "the guard runs, because the sidecar does");
        leader.resume().await;
        leader.wait_death().await;
        ended(guard).await;
        // The process ends a little before its use of the file.
        while overwrite().is_err() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it ends by itself")]
fn a_guard_that_is_started_by_hand_refuses() {
    for argument in ["--pillion-guard=", "--pillion-guard=00112233445566778899aabbccddeeff"] {
        let mut command = Command::new(HOST);
        let guard = command.arg(argument).env("OWN_GUARD", "1").stdin(Stdio::null());
        let output = guard.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{argument}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("not for use by hand"));
    }
}
