//! The app that dies.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use rustix::{
    process::{Pid, Signal, kill_process, kill_process_group},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use tokio::process::{Child, Command};

use super::{Death, Scenario, scenario::guards};
use crate::{
    TestMarker,
    dying_host::{OWN_GUARD_VARIABLE, READY_TIMEOUT_VARIABLE},
    helper_program,
};

/// The programs that take part.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `fake-host`.
    pub host: PathBuf,
    /// `baseline-host`.
    pub baseline: PathBuf,
    /// `pillion-under-test`.
    pub pillion: PathBuf,
    /// `fake-sidecar`.
    pub sidecar: PathBuf,
    /// The PyInstaller onefile program, if it was built.
    pub onefile: Option<PathBuf>,
}

/// The program that plays the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKind {
    /// `fake-host`: a plain program on the crate.
    Crate,
    /// The same, whose own program is the only guard that the system lets it start.
    OwnGuard,
    /// `pillion run`. Only signals kill it.
    Command,
    /// `baseline-host`: a plain program without pillion, for comparison.
    Baseline,
    /// A Tauri app: `fake-app`, which lies beside the sidecar.
    Tauri,
}

/// The running app. On drop, its terminal is closed if it has one.
pub(super) struct RunningHost {
    pub(super) child: Child,
    pub(super) pid: Pid,
    terminal: Option<File>,
}

impl Programs {
    /// The programs in the folder where Cargo puts them.
    ///
    /// # Errors
    /// A program is not built.
    pub fn built() -> io::Result<Self> {
        Ok(Self {
            host: helper_program("fake-host")?,
            baseline: helper_program("baseline-host")?,
            pillion: helper_program("pillion-under-test")?,
            sidecar: helper_program("fake-sidecar")?,
            onefile: None,
        })
    }
}

impl RunningHost {
    #[expect(clippy::disallowed_methods, reason = "the scenario kills what it starts")]
    pub(super) fn start(
        programs: &Programs,
        scenario: &Scenario,
        marker: &TestMarker,
        port: u16,
        sidecar: Vec<String>,
        ready_timeout: Duration,
    ) -> io::Result<Self> {
        let grace = scenario.grace.as_millis();
        let words = match scenario.host {
            HostKind::Crate | HostKind::OwnGuard | HostKind::Baseline | HostKind::Tauri => {
                let (moment, death) = (scenario.moment_of_host(), scenario.death.word());
                let app = programs.sidecar.with_file_name("fake-app");
                let host = match scenario.host {
                    HostKind::Baseline => &programs.baseline,
                    HostKind::Tauri => &app,
                    HostKind::Crate | HostKind::OwnGuard | HostKind::Command => &programs.host,
                };
                vec![
                    host.to_string_lossy().into_owned(),
                    grace.to_string(),
                    port.to_string(),
                    moment.to_owned(),
                    death.to_owned(),
                ]
            }
            HostKind::Command => {
                let program = programs.pillion.to_string_lossy().into_owned();
                vec![program, "run".to_owned(), format!("--grace={grace}ms"), "--".to_owned()]
            }
        };
        let (mut command, [stdin, stdout, stderr], terminal) = if scenario.death.needs_terminal() {
            let (ours, theirs) = terminal()?;
            let mut command = Command::new("setsid");
            // The child does not lead a group yet. setsid(1) therefore need not fork, and the process stays the same.
            command.args(["--ctty", "env"]);
            let streams = [theirs.try_clone()?.into(), theirs.try_clone()?.into(), theirs.into()];
            (command, streams, Some(ours))
        } else {
            let mut command = Command::new("env");
            command.process_group(0);
            (command, [Stdio::null(), Stdio::null(), Stdio::null()], None)
        };
        // A shell that runs a test in the background ignores Ctrl-C, and its children inherit that.
        command
            .arg("--default-signal")
            .args(words)
            .args(sidecar)
            .env(TestMarker::VARIABLE, marker.value())
            .env(READY_TIMEOUT_VARIABLE, ready_timeout.as_millis().to_string())
            .kill_on_drop(true);
        if scenario.host == HostKind::OwnGuard {
            command.env(OWN_GUARD_VARIABLE, "only");
        }
        let child = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn()?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        Ok(Self { child, pid: pid.ok_or(io::ErrorKind::NotFound)?, terminal })
    }

    /// Kills it from outside, unless it ends itself. It was not reaped before, so its pid is still its own.
    pub(super) async fn kill(&mut self, death: Death, marker: &TestMarker) -> io::Result<()> {
        match death {
            Death::Signal(Signal::SEGV) => {
                // The standard library's handler returns from the first SIGSEGV without a fault, and restores the default
                // action. The signal is therefore sent until the process has died.
                while tokio::time::timeout(Duration::from_millis(20), self.child.wait()).await.is_err() {
                    kill_process(self.pid, Signal::SEGV)?;
                }
            }
            Death::Signal(signal) => kill_process(self.pid, signal)?,
            Death::Group(signal) => kill_process_group(self.pid, signal)?,
            Death::GuardAndHostKilled => {
                // Both are frozen first, so that neither can react to the end of the other.
                kill_process(self.pid, Signal::STOP)?;
                for signal in [Signal::STOP, Signal::KILL] {
                    for guard in guards(marker, self.pid)? {
                        // It may have finished, if the sidecar was stopping.
                        let _ = guard.signal(signal);
                    }
                }
                kill_process(self.pid, Signal::KILL)?;
            }
            Death::CtrlC => {
                if let Some(terminal) = &mut self.terminal {
                    terminal.write_all(b"\x03")?;
                }
            }
            Death::TerminalClosed => self.terminal = None,
            Death::HostKilledGuardStopped => kill_process(self.pid, Signal::KILL)?,
            Death::SelfInflicted(_) | Death::GuardKilled | Death::GuardStopped => {}
        }
        Ok(())
    }
}

/// Both ends of a new pseudoterminal (pty(7)): that of the user, and that of programs.
///
/// # Errors
/// The system has no further pseudoterminal.
pub fn terminal() -> io::Result<(File, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let theirs = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty())?;
    Ok((ours.into(), theirs))
}
