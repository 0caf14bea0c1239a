//! The ready check by a command: runs it, and watches its exit.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use pillion_protocol::{Instance, environment, health::HealthReport};
use tokio::time;

use crate::{
    health::probe::{NotReady, pause_before},
    health::probe_span::in_span,
    output::{Output, Tail},
    spawn::spawn_error,
    spec::{ExecCheck, StopRequest},
    status::Exit,
    sys::{self, Group, SpawnRequest, Spawned, on_thread},
};

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Variables of the sidecar that the command must not have: its secret, its process marker, and the pipe that it creates.
const NOT_FOR_CHECKS: [&str; 3] = [environment::TOKEN, environment::INSTANCE, environment::PIPE];

/// A command that checks one run of a sidecar.
#[derive(Debug, Clone)]
pub(crate) struct ExecProbe {
    sidecar: String,
    check: ExecCheck,
    env: BTreeMap<OsString, OsString>,
    dir: Option<PathBuf>,
}

impl ExecProbe {
    /// The check of this sidecar, which `command` starts.
    pub(crate) fn new(sidecar: &str, check: ExecCheck, command: &Command) -> Self {
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

    /// Waits for the delay before attempt `number`, counted from 0, then makes the attempt. Dropping the future kills the command, with
    /// all processes that it started.
    pub(crate) async fn attempt(self, number: u32) -> Result<HealthReport, NotReady> {
        pause_before(number).await;
        let sidecar = self.sidecar.clone();
        let limited = async {
            let late = || NotReady::Command(format!("it did not end within {} s", ATTEMPT_TIMEOUT.as_secs()));
            time::timeout(ATTEMPT_TIMEOUT, self.run()).await.unwrap_or_else(|_| Err(late()))
        };
        in_span(&sidecar, limited).await.map(|()| HealthReport::default())
    }

    async fn run(self) -> Result<(), NotReady> {
        // Blocks until the program is executed.
        let spawned = on_thread(move || self.spawn()).await;
        let Spawned { group, stdout, stderr, .. } = spawned
            .unwrap_or_else(|| Err(NotReady::Unable("the system allows no further thread".to_owned())))?;
        let (mut output, mut tail) = (Output::new(stdout, stderr), Tail::default());
        let exit = loop {
            tokio::select! {
                exit = group.wait_exit() => break exit,
                read = output.read() => tail.push(&read.lines),
            }
        };
        for read in output.read_rest().await {
            tail.push(&read.lines);
        }
        // Ends what the command left behind.
        drop(group);
        if exit.is_success() { Ok(()) } else { Err(not_zero(exit, &tail)) }
    }

    fn spawn(self) -> Result<Spawned, NotReady> {
        let unable = |error: &dyn std::fmt::Display| NotReady::Unable(error.to_string());
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| unable(&error))?;
        let instance = Instance::from_bytes(bytes);
        let mut command = Command::new(&self.check.program);
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
            listener: None,
            watchdog: false,
            stdin: Some(sys::empty_stdin().map_err(|error| unable(&error))?),
            run_file: None,
        };
        Group::spawn(request).map_err(|error| {
            let why = spawn_error::explain(Path::new(&self.check.program), self.dir.as_deref(), &error);
            match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                    NotReady::NoCommand(why)
                }
                _ => NotReady::Unable(why),
            }
        })
    }
}

/// The exit, and the last line of the output.
fn not_zero(exit: Exit, tail: &Tail) -> NotReady {
    let said = tail.last(1).pop().map(|line| format!(": {line:?}")).unwrap_or_default();
    NotReady::Command(format!("it {exit}{said}"))
}
