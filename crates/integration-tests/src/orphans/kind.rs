//! Sidecars that are hard to stop completely.

use std::{io, path::Path};

use super::{Launcher, Programs};

/// A kind of sidecar. Each of its processes reports `up` once, before the sidecar announces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SidecarKind {
    /// Ends on SIGTERM.
    Cooperative,
    /// Ignores SIGTERM and the end of stdin.
    IgnoresSigterm,
    /// Ends on SIGTERM, but a child in its process group ignores SIGTERM.
    GrandchildIgnoresSigterm,
    /// A shell that waits for the real server.
    Wrapper,
    /// Ends on SIGTERM, but has started a daemon that ignores SIGTERM: two forks, its own session, and the sidecar's stdout
    /// held open.
    Daemon,
    /// Starts processes all the time: one that moves from session to session, and 300 more when it is asked to stop.
    ForkStorm,
    /// Ends on SIGTERM, but is frozen (SIGSTOP) when the app dies.
    Stopped,
    /// Ignores SIGTERM, and is the subreaper of its own daemons.
    Subreaper,
    /// Has exited already, but a child that ignores SIGTERM lives on in its process group.
    LeaderExited,
    /// Has worker processes with an empty environment, as `env={}` or a process title leaves it. On SIGTERM it lets them
    /// finish their jobs first. A worker that receives SIGTERM itself loses its job, and the sidecar does not say goodbye.
    WorkerPool,
    /// Ends on SIGTERM, but a child with an empty environment ignores SIGTERM.
    UnmarkedGrandchild,
    /// Logs to both streams while it saves its state on SIGTERM. It dies at the first write without a reader, as a program
    /// does that SIGPIPE kills.
    LogsWhileItSaves,
    /// Has replaced itself by execve(2) with a server on another port, as a reloader does.
    Reexec,
    /// A PyInstaller onefile program: a bootloader that forwards SIGTERM to the real server. A second SIGTERM ends the server
    /// without its goodbye. Only for soaks: the program must be built first.
    OneFile,
    /// A launcher with the server behind it, which ends on SIGTERM. Only where the launcher is installed.
    Launched(Launcher),
}

impl SidecarKind {
    /// The kinds of the tests, for which every promise holds.
    pub const ALL: [Self; 13] = [
        Self::Cooperative,
        Self::IgnoresSigterm,
        Self::GrandchildIgnoresSigterm,
        Self::Wrapper,
        Self::Daemon,
        Self::ForkStorm,
        Self::Stopped,
        Self::Subreaper,
        Self::LeaderExited,
        Self::WorkerPool,
        Self::UnmarkedGrandchild,
        Self::LogsWhileItSaves,
        Self::Reexec,
    ];

    /// Further kinds, which `cargo xtask soak orphans --kinds` can choose: each needs a program that the machine may lack.
    pub const FURTHER: [Self; 6] = [
        Self::OneFile,
        Self::Launched(Launcher::Npm),
        Self::Launched(Launcher::Pnpm),
        Self::Launched(Launcher::Tini),
        Self::Launched(Launcher::DumbInit),
        Self::Launched(Launcher::Uv),
    ];

    /// The number of its workers.
    const WORKERS: usize = 3;

    /// How many processes report `up`.
    pub(super) fn up_reports(self) -> usize {
        match self {
            Self::Cooperative
            | Self::IgnoresSigterm
            | Self::Wrapper
            | Self::Stopped
            | Self::LogsWhileItSaves
            | Self::Reexec
            | Self::OneFile
            | Self::Launched(_) => 1,
            Self::GrandchildIgnoresSigterm
            | Self::Daemon
            | Self::ForkStorm
            | Self::Subreaper
            | Self::LeaderExited
            | Self::UnmarkedGrandchild => 2,
            Self::WorkerPool => 1 + Self::WORKERS,
        }
    }

    /// Whether it ends by itself when it is asked to stop. It reports `bye` then.
    #[must_use]
    pub fn stops_gracefully(self) -> bool {
        match self {
            Self::Cooperative
            | Self::GrandchildIgnoresSigterm
            | Self::Wrapper
            | Self::Daemon
            | Self::Stopped
            | Self::WorkerPool
            | Self::UnmarkedGrandchild
            | Self::LogsWhileItSaves
            | Self::Reexec
            | Self::OneFile
            | Self::Launched(_) => true,
            Self::IgnoresSigterm | Self::ForkStorm | Self::Subreaper | Self::LeaderExited => false,
        }
    }

    /// Whether a part of it ends only by force, at the end of the grace period.
    #[must_use]
    pub fn needs_force(self) -> bool {
        match self {
            Self::IgnoresSigterm
            | Self::GrandchildIgnoresSigterm
            | Self::Daemon
            | Self::ForkStorm
            | Self::Subreaper
            | Self::LeaderExited
            | Self::UnmarkedGrandchild => true,
            Self::Cooperative
            | Self::Wrapper
            | Self::Stopped
            | Self::WorkerPool
            | Self::LogsWhileItSaves
            | Self::Reexec
            | Self::OneFile
            | Self::Launched(_) => false,
        }
    }

    /// Whether the death of its first process ends all of it.
    #[must_use]
    pub fn is_one_process(self) -> bool {
        match self {
            Self::Cooperative
            | Self::IgnoresSigterm
            | Self::Stopped
            | Self::LogsWhileItSaves
            | Self::Reexec => true,
            Self::GrandchildIgnoresSigterm
            | Self::Wrapper
            | Self::Daemon
            | Self::ForkStorm
            | Self::Subreaper
            | Self::LeaderExited
            | Self::WorkerPool
            | Self::UnmarkedGrandchild
            | Self::OneFile
            | Self::Launched(_) => false,
        }
    }

    /// Its command line. A sidecar that never announces itself stays in its start.
    ///
    /// # Errors
    /// Its launcher is not installed.
    pub(super) fn command(
        self,
        programs: &Programs,
        port: u16,
        announces: bool,
        hops: u32,
    ) -> io::Result<Vec<String>> {
        let sidecar = &*programs.sidecar.to_string_lossy();
        let announce = if announces { "announce" } else { "" };
        let up = format!("report {port} up");
        let server = format!("listen ok {up} {announce}");
        let bye = format!("report {port} bye exit 0");
        let obey = format!("term {bye}");
        let steps = match self {
            Self::Cooperative | Self::Stopped => format!("{server} {obey}"),
            Self::IgnoresSigterm => format!("ignore-term {server} park"),
            Self::GrandchildIgnoresSigterm => format!("fork ignore-term {up} park ; {server} {obey}"),
            Self::Wrapper => {
                // The shell has a command after the server, so that it cannot replace itself with the server.
                let script = format!(r#""$0" {server} {obey}; exit 1"#);
                return Ok(["sh", "-c", &script, sidecar].map(str::to_owned).into());
            }
            Self::Daemon => format!("daemon ignore-term {up} park ; {server} {obey}"),
            Self::ForkStorm => format!("fork {up} hop {hops} ; {server} term storm 300 park"),
            Self::Subreaper => format!("subreaper ignore-term daemon ignore-term {up} park ; {server} park"),
            Self::LeaderExited => format!("fork ignore-term {up} park ; {server} wait exit 0"),
            Self::WorkerPool => format!("pool {} {port} {server} term drain {bye}", Self::WORKERS),
            // It waits for the test, which cannot find it by its marker to kill it.
            Self::UnmarkedGrandchild => {
                format!("fork-without-env ignore-term {up} wait exit 0 ; {server} {obey}")
            }
            Self::LogsWhileItSaves => format!("{server} term log saving log saving log saved {bye}"),
            Self::Reexec => format!("listen ok {announce} exec {server} {obey}"),
            Self::OneFile => {
                let program = programs.onefile.as_deref().unwrap_or_else(|| Path::new("onefile-sidecar"));
                let announce = if announces { announce } else { "-" };
                return Ok(vec![
                    program.to_string_lossy().into_owned(),
                    port.to_string(),
                    announce.to_owned(),
                ]);
            }
            Self::Launched(launcher) => {
                let mut command = launcher.command(&programs.sidecar)?;
                // A second SIGTERM ends it without its goodbye.
                let steps = format!("{server} term once {bye}");
                command.extend(steps.split_ascii_whitespace().map(str::to_owned));
                return Ok(command);
            }
        };
        Ok([sidecar].into_iter().chain(steps.split_ascii_whitespace()).map(str::to_owned).collect())
    }
}
