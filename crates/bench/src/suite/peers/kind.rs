//! The peers, and the command line of each.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Result;
use integration_tests::TestMarker;
use tempfile::TempDir;

use super::super::build::PeerPrograms;

/// A way to start and stop a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// The standard library alone.
    Bare,
    /// `pillion::Supervisor`.
    Supervisor,
    /// `pillion run --json`.
    PillionRun,
    /// tauri-plugin-shell as it is by default.
    ShellChild,
    /// tauri-plugin-shell with a process group.
    ShellGroup,
    /// tini(1): an init for a container.
    Tini,
    /// `s6-supervise` of s6, a supervision suite.
    S6,
    /// A transient unit of the user's service manager.
    SystemdRun,
}

impl Peer {
    pub(super) const ALL: [Self; 8] = [
        Self::Bare,
        Self::Supervisor,
        Self::PillionRun,
        Self::ShellChild,
        Self::ShellGroup,
        Self::Tini,
        Self::S6,
        Self::SystemdRun,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Bare => "bare spawn and read",
            Self::Supervisor => "pillion::Supervisor",
            Self::PillionRun => "pillion run",
            Self::ShellChild => "tauri-plugin-shell",
            Self::ShellGroup => "tauri-plugin-shell, processGroup",
            Self::Tini => "tini -g",
            Self::S6 => "s6-supervise",
            Self::SystemdRun => "systemd-run --user",
        }
    }

    /// Whether it is a library, which runs in a process that reports as [`Hold`](super::super::availability::Hold) does.
    pub(super) fn is_library(self) -> bool {
        matches!(self, Self::Bare | Self::Supervisor | Self::ShellChild | Self::ShellGroup)
    }

    /// The reason why it cannot run on this machine, with what to do.
    pub(super) fn missing(self) -> Option<String> {
        let (program, package) = match self {
            Self::Bare | Self::Supervisor | Self::PillionRun | Self::ShellChild | Self::ShellGroup => {
                return None;
            }
            Self::Tini => ("tini", "tini"),
            Self::S6 => ("s6-supervise", "s6"),
            Self::SystemdRun => ("systemd-run", "systemd"),
        };
        let path = env::var_os("PATH").unwrap_or_default();
        if !env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
            return Some(format!("{program} is not on the PATH; on Debian: apt install {package}"));
        }
        if self == Self::SystemdRun && !has_user_manager() {
            return Some(
                "this session has no service manager of the user (`systemctl --user`); log in through one"
                    .to_owned(),
            );
        }
        None
    }

    /// The app that uses tauri-plugin-shell, for a task in `apps/routes/src/shell_peer.rs`.
    pub(super) fn shell_app(self, programs: &PeerPrograms, task: &str) -> Command {
        let mut command = Command::new(&programs.shell_app);
        let scope = if self == Self::ShellGroup { "group" } else { "child" };
        command
            .args(["shell", scope, task])
            .env("DISPLAY", programs.display.name())
            .env("GDK_BACKEND", "x11");
        command.env_remove("WAYLAND_DISPLAY");
        command
    }

    /// The command that runs `program` under this peer. The folder lives as long as the command.
    pub(super) fn command(
        self,
        programs: &PeerPrograms,
        program: &Path,
        arguments: &[&str],
        marker: &TestMarker,
    ) -> Result<(Command, Option<TempDir>)> {
        let mut folder = None;
        let mut command = match self {
            Self::Bare | Self::Supervisor => {
                let mut command = Command::new(env::current_exe()?);
                let holder = if self == Self::Bare { "bare" } else { "supervisor" };
                command.args(["hold", holder, "1"]).arg(program).arg("--").args(arguments);
                command
            }
            Self::ShellChild | Self::ShellGroup => {
                let mut command = self.shell_app(programs, "hold");
                command.arg(program).args(arguments);
                command
            }
            Self::PillionRun => {
                let mut command = Command::new(&programs.pillion);
                command.args(["run", "--json", "--"]).arg(program).args(arguments);
                command
            }
            Self::Tini => {
                let mut command = Command::new("tini");
                command.args(["-s", "-g", "--"]).arg(program).args(arguments);
                command
            }
            Self::S6 => {
                let service = service_folder(program, arguments)?;
                let mut command = Command::new("s6-supervise");
                command.arg(service.path());
                folder = Some(service);
                command
            }
            Self::SystemdRun => {
                let mut command = Command::new("systemd-run");
                command.args(["--user", "--quiet", "--pipe", "--wait", "--collect"]);
                command.arg(format!("--unit={}", unit(marker)));
                command.arg(format!("--setenv={}={}", TestMarker::VARIABLE, marker.value()));
                command.arg(program).args(arguments);
                command
            }
        };
        command.env(TestMarker::VARIABLE, marker.value()).env_remove("PORT");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok((command, folder))
    }

    /// The command that asks this peer to stop its program, if a SIGTERM does not.
    pub(super) fn stop_command(self, marker: &TestMarker) -> Option<Command> {
        (self == Self::SystemdRun).then(|| {
            let mut command = Command::new("systemctl");
            command.args(["--user", "stop", &unit(marker)]);
            command
        })
    }
}

/// A service of s6: its program, which does not start again after its end.
fn service_folder(program: &Path, arguments: &[&str]) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let quoted: Vec<_> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
    let run = format!("#!/bin/sh\nexec '{}' {}\n", program.display(), quoted.join(" "));
    for (name, text) in [("run", run.as_str()), ("finish", "#!/bin/sh\nexit 125\n")] {
        let file = folder.path().join(name);
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(folder)
}

fn unit(marker: &TestMarker) -> String {
    format!("pillion-bench-{}.service", marker.value())
}

fn has_user_manager() -> bool {
    let output = Command::new("systemctl").args(["--user", "show-environment"]).output();
    output.is_ok_and(|output| output.status.success())
}
