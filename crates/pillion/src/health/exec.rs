//! The ready check by a command: runs it, and watches its exit.

use std::time::Duration;

use pillion_protocol::health::HealthReport;
use tokio::time;

use crate::{
    health::not_ready::NotReady,
    health::probe::pause_before,
    health::probe_span::in_span,
    output::{Output, Tail},
    spawn::check_command::{CheckCommand, NotStarted},
    status::Exit,
    sys::{Spawned, on_thread},
};

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks one run of a sidecar by a command.
#[derive(Debug, Clone)]
pub(crate) struct ExecProbe(pub(crate) CheckCommand);

impl ExecProbe {
    /// Waits for the delay before attempt `number`, counted from 0, then makes the attempt. Dropping the future kills the command, with
    /// all processes that it started.
    pub(crate) async fn attempt(self, number: u32) -> Result<HealthReport, NotReady> {
        pause_before(number).await;
        let sidecar = self.0.sidecar.clone();
        let limited = async {
            let late = || NotReady::Command(format!("it did not end within {} s", ATTEMPT_TIMEOUT.as_secs()));
            time::timeout(ATTEMPT_TIMEOUT, self.run()).await.unwrap_or_else(|_| Err(late()))
        };
        in_span(&sidecar, limited).await.map(|()| HealthReport::default())
    }

    async fn run(self) -> Result<(), NotReady> {
        // Blocks until the program is executed.
        let spawned = on_thread(move || self.0.start()).await;
        let Spawned { group, stdout, stderr, .. } = spawned
            .unwrap_or_else(|| Err(NotStarted::Other("the system allows no further thread".to_owned())))?;
        let (mut output, mut tail) = (Output::new(stdout, stderr, None), Tail::default());
        let exit = loop {
            tokio::select! {
                exit = group.wait_exit() => break exit,
                read = output.read() => tail.push(&read.lines),
            }
        };
        while let Some(read) = output.read_rest().await {
            tail.push(&read.lines);
        }
        // Ends what the command left behind.
        drop(group);
        if exit.is_success() { Ok(()) } else { Err(not_zero(exit, &tail)) }
    }
}

/// The exit, and the last line of the output.
fn not_zero(exit: Exit, tail: &Tail) -> NotReady {
    let said = tail.last(1).pop().map(|line| format!(": {line:?}")).unwrap_or_default();
    NotReady::Command(format!("it {exit}{said}"))
}

impl From<NotStarted> for NotReady {
    fn from(error: NotStarted) -> Self {
        match error {
            NotStarted::NoCommand(why) => Self::NoCommand(why),
            NotStarted::Other(why) => Self::Unable(why),
        }
    }
}
