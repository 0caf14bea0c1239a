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

use super::{Death, Scenario};
use crate::Mark;

/// The programs that take part.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `fake-host`.
    pub host: PathBuf,
    /// `rival-host`.
    pub rival: PathBuf,
    /// `pillion-under-test`.
    pub pillion: PathBuf,
    /// `fake-sidecar`.
    pub sidecar: PathBuf,
}

/// What plays the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// A plain program on the crate.
    Crate,
    /// `pillion run`. It dies by signals only.
    Command,
    /// A plain program that has nothing of pillion, to compare with.
    Rival,
    /// A Tauri app: `fake-app`, which lies beside the sidecar.
    Tauri,
}

/// The app, running. Dropping it ends its terminal, if it has one.
pub(super) struct Host {
    pub(super) child: Child,
    pub(super) pid: Pid,
    terminal: Option<File>,
}

impl Host {
    #[expect(clippy::disallowed_methods, reason = "the scenario watches over it")]
    pub(super) fn start(
        programs: &Programs,
        scenario: &Scenario,
        mark: &Mark,
        port: u16,
        sidecar: Vec<String>,
    ) -> io::Result<Self> {
        let grace = scenario.grace.as_millis();
        let words = match scenario.through {
            Through::Crate | Through::Rival | Through::Tauri => {
                let (moment, death) = (scenario.moment.word(), scenario.death.word());
                let app = programs.sidecar.with_file_name("fake-app");
                let host = match scenario.through {
                    Through::Rival => &programs.rival,
                    Through::Tauri => &app,
                    Through::Crate | Through::Command => &programs.host,
                };
                vec![
                    host.to_string_lossy().into_owned(),
                    grace.to_string(),
                    port.to_string(),
                    moment.to_owned(),
                    death.to_owned(),
                ]
            }
            Through::Command => {
                let program = programs.pillion.to_string_lossy().into_owned();
                vec![program, "run".to_owned(), format!("--grace={grace}ms"), "--".to_owned()]
            }
        };
        let (mut command, [stdin, stdout, stderr], terminal) = if scenario.death.needs_terminal() {
            let (ours, theirs) = terminal()?;
            let mut command = Command::new("setsid");
            // Not a group leader yet, so that setsid(1) need not fork and the process stays the same.
            command.args(["--ctty", "env"]);
            let streams = [theirs.try_clone()?.into(), theirs.try_clone()?.into(), theirs.into()];
            (command, streams, Some(ours))
        } else {
            let mut command = Command::new("env");
            command.process_group(0);
            (command, [Stdio::null(), Stdio::null(), Stdio::null()], None)
        };
        // A test that a shell runs in the background ignores Ctrl-C, and its children inherit that.
        command
            .arg("--default-signal")
            .args(words)
            .args(sidecar)
            .env(Mark::VARIABLE, mark.value())
            .kill_on_drop(true);
        let child = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn()?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        Ok(Self { child, pid: pid.ok_or(io::ErrorKind::NotFound)?, terminal })
    }

    /// Kills it from outside, unless it dies by its own doing. It is not waited for before, so its number is its own.
    pub(super) async fn kill(&mut self, death: Death, mark: &Mark) -> io::Result<()> {
        match death {
            Death::Signal(Signal::SEGV) => {
                // std's handler of it lets the first one pass that is no fault, and restores the default.
                while tokio::time::timeout(Duration::from_millis(20), self.child.wait()).await.is_err() {
                    kill_process(self.pid, Signal::SEGV)?;
                }
            }
            Death::Signal(signal) => kill_process(self.pid, signal)?,
            Death::Group(signal) => kill_process_group(self.pid, signal)?,
            Death::GuardAndHost => {
                // Stopped first, so that neither sees the other's end.
                kill_process(self.pid, Signal::STOP)?;
                for signal in [Signal::STOP, Signal::KILL] {
                    mark.alive()?
                        .iter()
                        .filter(|process| process.is_guard())
                        .try_for_each(|guard| guard.signal(signal))?;
                }
                kill_process(self.pid, Signal::KILL)?;
            }
            Death::CtrlC => {
                if let Some(terminal) = &mut self.terminal {
                    terminal.write_all(b"\x03")?;
                }
            }
            Death::Terminal => self.terminal = None,
            Death::HostOfStoppedGuard => kill_process(self.pid, Signal::KILL)?,
            Death::Own(_) | Death::Guard | Death::StoppedGuard => {}
        }
        Ok(())
    }
}

/// Both ends of a new terminal.
fn terminal() -> io::Result<(File, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let theirs = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty())?;
    Ok((ours.into(), theirs))
}
