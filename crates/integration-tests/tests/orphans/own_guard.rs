//! The app's own program is the guard, where the system executes neither memory nor files that the app writes.

use std::{
    fs,
    io::{self, IoSlice, Seek as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Command, Stdio},
};

use integration_tests::{
    LiveProcess, ReportServer,
    dying_host::OWN_GUARD_VARIABLE,
    orphans::{Death, HostKind, Moment, Scenario, SidecarKind},
    run,
};
use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::Signal,
};

use crate::support::{FakeHost, HOUR, assert_no_survivors, fake_sidecar, programs};

/// Each kind of sidecar, when the app ends so at this moment.
fn each_kind(death: Death, moment: Moment) {
    let host = HostKind::OwnGuard;
    assert_no_survivors(SidecarKind::ALL.map(|kind| Scenario { host, moment, ..Scenario::new(death, kind) }));
}

#[test]
fn the_app_is_killed() {
    for moment in [Moment::Starting, Moment::Ready, Moment::Stopping] {
        each_kind(Death::Signal(Signal::KILL), moment);
    }
}

#[test]
fn the_app_stops_its_sidecar() {
    each_kind(Death::SelfInflicted("stop"), Moment::Ready);
}

#[test]
fn the_terminal_of_the_app_is_closed() {
    each_kind(Death::TerminalClosed, Moment::Ready);
}

#[test]
fn the_guard_is_killed_or_frozen() {
    for death in [Death::GuardKilled, Death::GuardStopped, Death::HostKilledGuardStopped] {
        each_kind(death, Moment::Ready);
    }
}

/// Whether an app with this value of the variable has its own program as its guard.
async fn is_own_guard(variable: &str) -> bool {
    let reports = ReportServer::new().await;
    let variable = Some((OWN_GUARD_VARIABLE, variable.to_owned()));
    let mut host =
        FakeHost::start_with(&reports, HOUR, variable, &fake_sidecar("listen ok announce term exit 0"));
    reports.wait_for("host").await;
    let guard = host.tree.alive().into_iter().find(LiveProcess::is_guard).unwrap();
    host.kill().await;
    assert_eq!(guard.is_own_guard(), guard.runs("fake-host"), "{guard:?}");
    guard.is_own_guard()
}

#[test]
fn the_own_program_is_the_guard_only_where_no_other_can_run() {
    run(async {
        assert!(!is_own_guard("if-needed").await);
        assert!(is_own_guard("only").await);
    });
}

fn has_token(pid: u32) -> bool {
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let token = environment.split('\0').find_map(|entry| entry.strip_prefix("PILLION_TOKEN="));
    token.is_some_and(|token| token != "-".repeat(64))
}

/// Every program of the user can read a guard's environment.
#[test]
fn no_guard_keeps_the_token() {
    run(async {
        for variable in ["if-needed", "only"] {
            let reports = ReportServer::new().await;
            let steps = format!("report {} sidecar park", reports.port());
            let own_guard = Some((OWN_GUARD_VARIABLE, variable.to_owned()));
            let private = ["env", "FAKE_HOST_PRIVATE=1"];
            let mut host = FakeHost::start_in(&private, &reports, HOUR, own_guard, &fake_sidecar(&steps));
            reports.wait_for("sidecar").await;
            // A full guard erases the token after the start of the sidecar, which may be quicker, and the light one has none.
            loop {
                let guard = host.tree.alive().into_iter().find(LiveProcess::is_guard);
                if guard.is_some_and(|guard| !has_token(guard.pid)) {
                    break;
                }
                tokio::task::yield_now().await;
            }
            host.kill().await;
        }
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it ends by itself")]
fn a_guard_that_is_started_by_hand_refuses() {
    for argument in ["--pillion-guard=", "--pillion-guard=00112233445566778899aabbccddeeff"] {
        let mut guard = Command::new(programs().host);
        guard.arg(argument).env(OWN_GUARD_VARIABLE, "1").stdin(Stdio::null());
        let output = guard.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{argument}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("not for use by hand"));
    }
}

const VALUE: &str = "00112233445566778899aabbccddeeff";

/// Starts the app's program with the arguments of a guard that starts `touch`, and asserts that it refuses.
#[expect(clippy::disallowed_methods, reason = "it ends by itself")]
fn assert_starts_nothing(stdin: Stdio) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("started");
    let mut guard = Command::new(programs().host);
    guard.arg(format!("--pillion-guard={VALUE}")).env(OWN_GUARD_VARIABLE, "1").stdin(stdin);
    guard.args(["1000", "0", "0", "0", "0", "15,leader,", "touch"]).arg(&file);
    let output = guard.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert!(!file.exists(), "the program was started");
    assert_eq!(output.status.code(), Some(2));
}

/// The test's own value as a guard's argument shows nothing: the process that starts the program chooses it.
#[test]
fn the_app_is_no_launcher_with_a_file_as_stdin() {
    let mut file = tempfile::tempfile().unwrap();
    write!(file, "{VALUE}F").unwrap();
    file.rewind().unwrap();
    assert_starts_nothing(Stdio::from(file));
}

#[test]
fn the_app_is_no_launcher_for_another_program() {
    let (mut ours, socket) = UnixStream::pair().unwrap();
    write!(ours, "{VALUE}").unwrap();
    let (pipes, mut space) = ([io::pipe().unwrap(), io::pipe().unwrap()], [MaybeUninit::uninit(); 64]);
    let (mut rights, fds) =
        (SendAncillaryBuffer::new(&mut space), pipes.each_ref().map(|(read, _)| read.as_fd()));
    assert!(rights.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(&ours, &[IoSlice::new(b"F")], &mut rights, SendFlags::empty()).unwrap();
    assert_starts_nothing(Stdio::from(OwnedFd::from(socket)));
}
