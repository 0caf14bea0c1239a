//! Windows: a job object. The process is created suspended, assigned to the job and then resumed, so that none of its children
//! escapes. The system kills all members when the job's last handle closes. This program holds the only one, unless a
//! [guard] holds another.
//!
//! Why not a library: tauri-plugin-shell's job lacks kill-on-close. process-wrap takes any message of the job's completion
//! port, even the start of a process, for the end of the last process, and gives no access to the job.

mod error_mode;
mod guard;
mod job;
pub(super) mod port_owners;
mod process;
pub(super) mod tree_usage;

use std::{
    io::{self, Write},
    ops::Range,
    os::windows::{
        io::{AsHandle, BorrowedHandle, OwnedHandle},
        process::CommandExt,
    },
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncReadExt};
use windows_sys::Win32::System::Threading::{CREATE_NO_WINDOW, CREATE_SUSPENDED};

use super::{SpawnRequest, Spawned};
use crate::{spec::StopRequest, status::Exit};
pub(crate) use guard::run as run_guard;
use guard::{Asker, Lent, Watched};
use job::Job;

/// The size of the first read from a pipe, and that after a full one. Most sidecars write little, and a program may supervise many.
const FIRST_READ: usize = 4 * 1024;
const READ: usize = 64 * 1024;

/// A job and its first process. Drop closes the job, which kills the remaining members, or lets the guard end them. A runtime that is
/// dropped waits for the end of their output, because it reads on threads: with a guard at most for the grace period.
#[derive(Debug)]
pub(crate) struct Group {
    job: Arc<Job>,
    leader: OwnedHandle,
    pid: u32,
    /// The write end of the leader's stdin.
    lifeline: Mutex<Option<ChildStdin>>,
    stop: StopRequest,
    watched: Option<Watched>,
}

impl Group {
    /// Starts the program in a new job, with pipes for its standard streams. However this program dies, its handle closes, and the
    /// system kills the job; if this program can be a guard, the guard holds the job beyond that for the grace period.
    ///
    /// # Panics
    /// Outside the context of a tokio runtime.
    pub(crate) fn spawn(request: SpawnRequest) -> io::Result<Spawned> {
        let mut command = request.command;
        command
            .stdin(request.stdin.map_or_else(Stdio::piped, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let job = Job::new()?;
        let mut child = spawn_in(&job, &mut command)?;
        // From here on an error drops the job, which kills its processes.
        let missing = || io::Error::other("a standard stream was not piped");
        let stdout = tokio::process::ChildStdout::from_std(child.stdout.take().ok_or_else(missing)?)?;
        let stderr = tokio::process::ChildStderr::from_std(child.stderr.take().ok_or_else(missing)?)?;
        let (stop, lifeline) = (request.stop, child.stdin.take());
        // Without a grace period there is nothing to hold the job for.
        let watched = if request.grace.is_zero() {
            Ok(None)
        } else {
            guard::watch(&Lent {
                job: job.as_handle(),
                outputs: [stdout.as_handle(), stderr.as_handle()],
                lifeline: lifeline.as_ref().map(AsHandle::as_handle),
                stop: &stop,
                port: request.port,
                grace: request.grace,
            })
        };
        let (watched, limited) = match watched {
            Ok(watched) => (watched, None),
            Err(why) => {
                (None, Some(format!("{why}; if this program is killed, its sidecar is killed at once")))
            }
        };
        let job = Arc::new(job);
        let (stdout, stderr) = (OutputPipe::new(stdout, &job), OutputPipe::new(stderr, &job));
        let (pid, lifeline) = (child.id(), Mutex::new(lifeline));
        let group = Self { job, pid, leader: child.into(), lifeline, stop, watched };
        Ok(Spawned { group, stdout, stderr, unguarded: None, limited })
    }

    /// The leader's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The live processes besides the leader: only Linux tells.
    pub(crate) fn others(&self) -> Vec<String> {
        self.processes().others()
    }

    /// Finds nothing: only Linux tells which process serves a port.
    #[expect(clippy::unused_self, reason = "the signature is the same on every system")]
    pub(crate) fn processes(&self) -> super::RunProcesses {
        super::RunProcesses
    }

    /// The processes of this run, to be measured.
    pub(crate) fn tree(&self) -> super::ProcessTree {
        super::ProcessTree::new(&self.job)
    }

    /// Waits until the leader has ended. May be dropped and called again.
    pub(crate) async fn wait_exit(&self) -> Exit {
        let code = match process::ended(self.leader.as_handle()).await {
            Ok(()) => process::exit_code(self.leader.as_handle()).ok(),
            Err(error) => {
                tracing::warn!(%error, "cannot wait for the sidecar; assuming that it has ended");
                None
            }
        };
        Exit { code, signal: None }
    }

    /// Writes the declared line to the leader's stdin and ends it. Windows has no signal for a process that does not share our
    /// console.
    ///
    /// The guard learns of it when the line is written: of an app that is killed before, the guard asks the leader. It asks a second time if
    /// the app is killed just after the line.
    pub(crate) fn terminate_leader(&self) {
        let asker = self.watched.as_ref().map(Watched::asker);
        let lifeline = self.lifeline.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(mut stdin), Some(line)) = (lifeline, self.stop.stdin_bytes()) {
            // On a thread: a program that never reads its stdin must not block us. The job's end unblocks the thread.
            std::thread::spawn(move || {
                let _ = stdin.write_all(&line);
                asker.iter().for_each(Asker::asked);
            });
        } else {
            asker.iter().for_each(Asker::asked);
        }
    }

    /// Ends the leader's stdin: see [`terminate_leader`](Self::terminate_leader).
    pub(crate) fn terminate_group(&self) {
        if let Some(watched) = &self.watched {
            watched.asked();
        }
        *self.lifeline.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Tells the guard the HTTP request by which it asks the leader after the app's death.
    pub(crate) fn set_http_stop(&self, request: &[u8]) {
        if let Some(watched) = &self.watched {
            watched.set_http_stop(request);
        }
    }

    /// Tells the guard that the leader was asked by that request.
    pub(crate) fn http_stop_sent(&self) {
        if let Some(watched) = &self.watched {
            watched.http_stop_sent();
        }
    }

    /// What the processes of the job have used.
    pub(crate) fn used(&self) -> super::Used {
        self.job.used().unwrap_or_default()
    }

    /// Windows Error Reporting writes dumps as it is configured, and does not say so to us.
    #[expect(clippy::unused_self, reason = "the same interface on every system")]
    pub(crate) fn core_dumped(&self) -> Option<bool> {
        None
    }

    /// Kills every process of the job.
    pub(crate) fn kill(&self) {
        if let Some(watched) = &self.watched {
            // The guard must not ask a dead leader, whose port may be another program's.
            watched.asked();
        }
        self.job.kill();
    }

    /// Kills every process of the job again.
    pub(crate) fn sweep(&self) {
        self.job.kill();
    }

    /// Whether a member of the job serves this named pipe. Returns false if the server cannot be identified, for example
    /// because it has exited.
    pub(crate) fn serves(&self, pipe: BorrowedHandle<'_>) -> bool {
        let has = process::server(pipe).and_then(|server| self.job.has(server.as_handle()));
        has.unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot identify the server of a named pipe");
            false
        })
    }

    /// Waits until the job has no live process. If the system cannot tell, kills the rest instead. May be dropped and called
    /// again.
    ///
    /// Polls every 10 ms, only while a sidecar stops. The job's completion port does not guarantee its messages: <https://learn.microsoft.com/en-us/windows/win32/api/winnt/ns-winnt-jobobject_associate_completion_port>.
    pub(crate) async fn wait_empty(&self) {
        loop {
            match self.job.is_empty() {
                Ok(true) => return,
                Ok(false) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot read the job's process count; killing the rest of it");
                    self.kill();
                    return;
                }
            }
        }
    }
}

/// The only place on Windows that starts processes. The job owns the child.
fn spawn_in(job: &Job, command: &mut Command) -> io::Result<Child> {
    // CREATE_NO_WINDOW: a console program shows no window, and neither do its children, which share its console.
    command.creation_flags(CREATE_SUSPENDED | CREATE_NO_WINDOW);
    #[expect(clippy::disallowed_methods, reason = "the only place on Windows that starts processes")]
    let mut child = error_mode::without_error_boxes(|| command.spawn())?;
    let adopted = job.adopt(child.as_handle()).map_err(|error| no_job(&error));
    adopted.and_then(|()| process::resume(child.id())).inspect_err(|_| {
        // Still suspended, and possibly not in the job.
        let _ = child.kill();
    })?;
    Ok(child)
}

/// Why no job can hold the process. The system's own words, "Access is denied", would be about the program.
fn no_job(error: &io::Error) -> io::Error {
    // ERROR_ACCESS_DENIED, also for a process that is in a job which permits no other one (AssignProcessToJobObject).
    let hint = if error.kind() == io::ErrorKind::PermissionDenied {
        ". This app probably runs in a job itself, of a tool that permits no nested one: start the app without that tool"
    } else {
        ""
    };
    io::Error::other(format!(
        "the system did not let a job object hold its process, without which it could outlive this app: {error}{hint}"
    ))
}

/// How long [`OutputPipe::read_now`] waits for a thread of tokio's pool, which does the reading.
const THREAD_DELAY: Duration = Duration::from_millis(50);
/// The same if no process of the job is left: the end of the stream is certain to come, unless a service holds the write end. Once a
/// stream has not ended in that time, it is not waited for so long again.
const END_DELAY: Duration = Duration::from_secs(2);

/// The read end of a pipe.
pub(crate) struct OutputPipe {
    stream: Box<dyn AsyncRead + Send + Sync + Unpin>,
    /// No handle of it, which would keep its processes alive.
    job: Weak<Job>,
    /// What was read and not taken yet. A thread of tokio's pool does the reading.
    buffer: Vec<u8>,
    ready: Option<io::Result<Range<usize>>>,
    /// Whether another process holds the write end, as far as is known.
    is_held: bool,
}

impl OutputPipe {
    fn new(stream: impl AsyncRead + Send + Sync + Unpin + 'static, job: &Arc<Job>) -> Self {
        let buffer = vec![0; FIRST_READ];
        Self { stream: Box::new(stream), job: Arc::downgrade(job), buffer, ready: None, is_held: false }
    }

    /// Waits until there are bytes to read, or the end. Cancel-safe.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        if self.ready.is_none() {
            let result = self.stream.read(&mut self.buffer).await;
            self.ready = Some(result.map(|count| 0..count));
        }
        Ok(())
    }

    /// Takes bytes that have arrived; `None` if there are none. Returns 0 at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let Range { start, end } = match self.ready.take()? {
            Ok(range) => range,
            Err(error) => return Some(Err(error)),
        };
        let count = buffer.len().min(end - start);
        buffer[..count].copy_from_slice(&self.buffer[start..start + count]);
        if start + count < end {
            self.ready = Some(Ok(start + count..end));
        } else if end == self.buffer.len() && end < READ {
            self.buffer = vec![0; READ];
        }
        Some(Ok(count))
    }

    /// Waits for what dead processes have left. No call tells whether bytes are left, because a thread waits for them all the time: if a
    /// process of the job lives, nothing is left after 50 ms without bytes.
    pub(crate) async fn readable_now(&mut self) {
        let has_live_process = self.job.upgrade().is_some_and(|job| !matches!(job.is_empty(), Ok(true)));
        let is_certain = !has_live_process && !self.is_held;
        let delay = if is_certain { END_DELAY } else { THREAD_DELAY };
        let is_late = tokio::time::timeout(delay, self.readable()).await.is_err();
        self.is_held |= is_certain && is_late;
    }

    /// Takes bytes that have arrived; `None` if there are none.
    pub(crate) fn read_now(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        self.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future as _,
        pin::Pin,
        task::{Context, Poll},
    };

    use tokio::io::ReadBuf;

    use super::*;

    /// A stream whose bytes come later, as from a thread that the system has not run yet.
    struct Later(Pin<Box<tokio::time::Sleep>>);

    impl AsyncRead for Later {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.0.as_mut().poll(context).map(|()| {
                buffer.put_slice(b"last");
                Ok(())
            })
        }
    }

    fn later(job: &Arc<Job>) -> OutputPipe {
        OutputPipe::new(Later(Box::pin(tokio::time::sleep(THREAD_DELAY * 2))), job)
    }

    async fn rest(mut pipe: OutputPipe) -> Option<io::Result<usize>> {
        pipe.readable_now().await;
        pipe.read_now(&mut [0; 4])
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_that_another_process_holds_is_waited_for_once() {
        let job = Arc::new(Job::new().unwrap());
        let mut pipe = OutputPipe::new(Later(Box::pin(tokio::time::sleep(END_DELAY * 10))), &job);
        let begun = tokio::time::Instant::now();
        pipe.readable_now().await;
        assert_eq!(begun.elapsed(), END_DELAY);
        pipe.readable_now().await;
        assert_eq!(begun.elapsed(), END_DELAY + THREAD_DELAY);
        assert!(pipe.read_now(&mut [0; 4]).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_output_of_a_job_is_read_however_slow_the_reading_thread_is() {
        let job = Arc::new(Job::new().unwrap());
        assert_eq!(rest(later(&job)).await.unwrap().unwrap(), 4);
        // A process that lives may hold the pipe for ever.
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "no such test"]).creation_flags(CREATE_SUSPENDED).stdout(Stdio::null());
        #[expect(clippy::disallowed_methods, reason = "the job ends it")]
        let mut child = command.spawn().unwrap();
        job.adopt(child.as_handle()).unwrap();
        assert!(rest(later(&job)).await.is_none());
        job.kill();
        child.wait().unwrap();
        // Without a job, no process is left either.
        let pipe = later(&job);
        drop(job);
        assert!(rest(pipe).await.is_some());
    }
}
