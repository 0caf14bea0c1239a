//! The command of an `exec` check, which runs beside the sidecar, with its environment.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use pillion_protocol::{Instance, environment};

use crate::{
    spawn::{executable, spawn_error},
    spec::{ExecCheck, StopRequest},
    sys::{self, Group, SpawnRequest, Spawned},
};

/// Variables of the sidecar that the command must not have: its secret, its process marker, and the pipe that it creates.
const NOT_FOR_CHECKS: [&str; 3] = [environment::TOKEN, environment::INSTANCE, environment::PIPE];

/// A command that checks one run of a sidecar.
#[derive(Debug, Clone)]
pub(crate) struct CheckCommand {
    pub(crate) sidecar: String,
    check: ExecCheck,
    env: BTreeMap<OsString, OsString>,
    dir: Option<PathBuf>,
}

/// Why the command was not started, as a sentence.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// There is no such program, or it must not be executed: a further attempt fails too.
    NoCommand(String),
    Other(String),
}

impl CheckCommand {
    /// The check of this sidecar, which `command` starts.
    pub(super) fn new(sidecar: &str, check: ExecCheck, command: &Command) -> Self {
        let given = |name: &OsStr| !NOT_FOR_CHECKS.iter().any(|hidden| name == *hidden);
        let env = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        Self {
            sidecar: sidecar.to_owned(),
            check,
            env: env
                .filter(|(name, _)| given(name))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            dir: command.get_current_dir().map(Path::to_owned),
        }
    }

    /// Starts the command. Blocks until the program is executed.
    pub(crate) fn start(&self) -> Result<Spawned, NotStarted> {
        let unable = |error: &dyn std::fmt::Display| NotStarted::Other(error.to_string());
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| unable(&error))?;
        let instance = Instance::from_bytes(bytes);
        let program = Path::new(&self.check.program);
        let mut command = Command::new(executable::command_path(program, self.dir.as_deref()));
        command
            .args(&self.check.args)
            .env_clear()
            .envs(&self.env)
            .env(environment::INSTANCE, instance.to_string());
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let request = SpawnRequest {
            command,
            grace: Duration::ZERO,
            marker: format!("{}={instance}", environment::INSTANCE),
            stop: StopRequest::default(),
            port: None,
            listener: None,
            watchdog: false,
            stdin: Some(sys::empty_stdin().map_err(|error| unable(&error))?),
            run_file: None,
            journal: None,
        };
        Group::spawn(request).map_err(|error| {
            let why = spawn_error::explain(program, self.dir.as_deref(), &error);
            match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                    NotStarted::NoCommand(why)
                }
                _ => NotStarted::Other(why),
            }
        })
    }
}
