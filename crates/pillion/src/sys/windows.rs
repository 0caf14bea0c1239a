//! A job object: its process is created suspended, assigned, and only then resumed, so that nothing it starts escapes; and
//! all of them are killed when the job's last handle closes, which is ours.
//!
//! This is own code, because of what the libraries leave out. tauri-plugin-shell's job lacks kill-on-close. process-wrap's
//! takes any message of the job's completion port, the start of a process too, for the end of the last one, and does not
//! hand out the job to be asked.

mod job;
mod process;

use std::{
    io,
    os::windows::{
        io::{AsHandle, BorrowedHandle, OwnedHandle},
        process::CommandExt,
    },
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncReadExt};
use windows_sys::Win32::System::Threading::{CREATE_NO_WINDOW, CREATE_SUSPENDED};

use super::{SpawnRequest, Spawned};
use crate::status::Exit;
use job::Job;

/// A job with the process that was started in it. Dropping it closes the job, which kills what is left in it.
#[derive(Debug)]
pub(crate) struct Group {
    job: Job,
    leader: OwnedHandle,
    pid: u32,
    /// The other end of the leader's stdin.
    lifeline: Mutex<Option<ChildStdin>>,
}

impl Group {
    /// Starts the program in a job of its own, with pipes for its standard streams. The job needs no guard: it is killed
    /// when its last handle closes, by whatever death of ours. Needs the context of a tokio runtime.
    pub(crate) fn spawn(request: SpawnRequest) -> io::Result<Spawned> {
        let mut command = request.command;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let job = Job::new()?;
        let mut child = spawn_in(&job, &mut command)?;
        // From here on an error drops the job, and so leaves nothing running.
        let missing = || io::Error::other("a standard stream was not piped");
        let stdout = tokio::process::ChildStdout::from_std(child.stdout.take().ok_or_else(missing)?)?;
        let stderr = tokio::process::ChildStderr::from_std(child.stderr.take().ok_or_else(missing)?)?;
        let lifeline = Mutex::new(child.stdin.take());
        let group = Self { job, pid: child.id(), leader: child.into(), lifeline };
        Ok(Spawned {
            group,
            stdout: OutputPipe::new(stdout),
            stderr: OutputPipe::new(stderr),
            unguarded: None,
        })
    }

    /// The leader's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the leader has ended. May be dropped and called again.
    pub(crate) async fn wait_exit(&self) -> Exit {
        let code = match process::ended(self.leader.as_handle()).await {
            Ok(()) => process::exit_code(self.leader.as_handle()).ok(),
            Err(error) => {
                tracing::warn!(%error, "cannot wait for the sidecar; it counts as ended");
                None
            }
        };
        Exit { code, signal: None }
    }

    /// Ends stdin, which is the whole request: Windows has no signal that reaches a process without a console of ours.
    pub(crate) fn terminate(&self) {
        *self.lifeline.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Kills every process of the job.
    pub(crate) fn kill(&self) {
        self.job.kill();
    }

    /// Whether a member of the job is at the other end of this named pipe. Of a server that is gone, or nobody to look at, nobody
    /// knows, and so it is none.
    pub(crate) fn serves(&self, pipe: BorrowedHandle<'_>) -> bool {
        let has = process::server(pipe).and_then(|server| self.job.has(server.as_handle()));
        has.unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot tell who serves a pipe");
            false
        })
    }

    /// Waits until nobody is left in the job. Where the system does not tell, the rest is killed instead. May be dropped and
    /// called again.
    ///
    /// It looks every 10 ms, and only while a sidecar is going down. The job's completion port would tell, but not for
    /// certain: <https://learn.microsoft.com/en-us/windows/win32/api/winnt/ns-winnt-jobobject_associate_completion_port>.
    pub(crate) async fn wait_empty(&self) {
        loop {
            match self.job.is_empty() {
                Ok(true) => return,
                Ok(false) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot tell whether the job is empty; killing what is left of it");
                    self.kill();
                    return;
                }
            }
        }
    }
}

/// The one place that starts processes; the job owns the child.
fn spawn_in(job: &Job, command: &mut Command) -> io::Result<Child> {
    // No console window flashes up for a console program, nor for those that it starts, which share its console.
    command.creation_flags(CREATE_SUSPENDED | CREATE_NO_WINDOW);
    #[expect(clippy::disallowed_methods, reason = "this is that place")]
    let mut child = command.spawn()?;
    job.adopt(child.as_handle()).and_then(|()| process::resume(child.id())).inspect_err(|_| {
        // It has not run yet, and it may not be in the job.
        let _ = child.kill();
    })?;
    Ok(child)
}

/// The reading end of a pipe.
pub(crate) struct OutputPipe(Box<dyn AsyncRead + Send + Sync + Unpin>);

impl OutputPipe {
    fn new(stream: impl AsyncRead + Send + Sync + Unpin + 'static) -> Self {
        Self(Box::new(stream))
    }

    /// Reads what is there, and waits where nothing is. 0 is the end. Nothing is lost when it is dropped.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).await
    }

    /// Reads what comes within a moment: `None` where nothing does. A thread of tokio's does the reading, and has to find
    /// the time to; only where a living process holds the other end is there a moment to wait.
    pub(crate) async fn read_now(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        tokio::time::timeout(Duration::from_millis(50), self.0.read(buffer)).await.ok()
    }
}
