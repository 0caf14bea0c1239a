//! The app's side: one guard's process for all runs, as long as there is one.

use std::{
    io::{self, Read, Write},
    num::NonZeroU16,
    os::windows::{
        io::{AsHandle, BorrowedHandle, OwnedHandle},
        process::CommandExt,
    },
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, DETACHED_PROCESS};

use super::{
    super::super::own_program,
    super::error_mode,
    handles::{give, is_alive},
    message::{Message, Run},
};
use crate::spec::StopRequest;

/// How long a guard may take until it works.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The guard that runs. Its last run drops it.
static GUARD: Mutex<Weak<Guard>> = Mutex::new(Weak::new());

/// What a guard needs of a run.
pub(in super::super) struct Lent<'a> {
    pub(in super::super) job: BorrowedHandle<'a>,
    pub(in super::super) outputs: [BorrowedHandle<'a>; 2],
    /// The write end of the leader's stdin.
    pub(in super::super) lifeline: Option<BorrowedHandle<'a>>,
    pub(in super::super) stop: &'a StopRequest,
    /// The fixed port, for which a later start of the app waits.
    pub(in super::super) port: Option<NonZeroU16>,
    pub(in super::super) grace: Duration,
}

/// Lets the guard watch a run, and starts it if it does not run. `Ok(None)` if this program does not become a guard; an error says
/// why none watches.
pub(in super::super) fn watch(lent: &Lent<'_>) -> Result<Option<Watched>, String> {
    let Some(program) = own_program::file() else { return Ok(None) };
    let mut current = GUARD.lock().unwrap_or_else(PoisonError::into_inner);
    let guard = match current.upgrade().filter(|guard| is_alive(guard.process.as_handle())) {
        Some(guard) => guard,
        None => {
            let error = |error| format!("this program could not be started as a guard: {error}");
            let guard = Arc::new(Guard::start(program?).map_err(error)?);
            *current = Arc::downgrade(&guard);
            guard
        }
    };
    drop(current);
    Watched::new(guard, lent).map(Some).map_err(|error| format!("the guard could not get the job: {error}"))
}

/// A run that the guard watches. On drop, the guard ends it as after the app's death.
#[derive(Debug)]
pub(in super::super) struct Watched {
    guard: Arc<Guard>,
    run: u64,
}

impl Watched {
    fn new(guard: Arc<Guard>, lent: &Lent<'_>) -> io::Result<Self> {
        static RUNS: AtomicU64 = AtomicU64::new(1);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let lend = |handle| give(guard.process.as_handle(), handle);
        // Not needed if the end of stdin is the whole request: the app's death ends it. The guard would delay that end.
        let lifeline = lent.lifeline.filter(|_| lent.stop.stdin_line.is_some() || lent.stop.http.is_some());
        // Without them the sidecar stops less gracefully. The job comes last: a guard that does not learn of it would keep it open.
        let [stdout, stderr] = lent.outputs.map(|output| lend(output).unwrap_or(0));
        let lifeline = lifeline.map_or(0, |lifeline| lend(lifeline).unwrap_or(0));
        let job = lend(lent.job)?;
        let watched = Self { guard, run };
        watched.send(&Message::Run(Run {
            run,
            grace_ms: u64::try_from(lent.grace.as_millis()).unwrap_or(u64::MAX),
            job,
            outputs: [stdout, stderr],
            lifeline,
            port: lent.port.map_or(0, |port| port.get().into()),
            line: lent.stop.stdin_bytes().unwrap_or_default(),
        }));
        Ok(watched)
    }

    /// Tells the guard the HTTP request by which it asks the leader after the app's death.
    pub(in super::super) fn set_http_stop(&self, request: &[u8]) {
        self.send(&Message::HttpStop { run: self.run, request: request.to_vec() });
    }

    /// Tells the guard that the leader was asked by that request.
    pub(in super::super) fn http_stop_sent(&self) {
        self.send(&Message::HttpStopSent { run: self.run });
    }

    /// Tells the guard that the leader was asked otherwise, and lets it close the leader's stdin.
    pub(in super::super) fn asked(&self) {
        self.asker().asked();
    }

    /// Tells the same later, on any thread. Does not keep the guard watching the run.
    pub(in super::super) fn asker(&self) -> Asker {
        Asker { messages: self.guard.messages.clone(), run: self.run }
    }

    fn send(&self, message: &Message) {
        send(&self.guard.messages, message);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.send(&Message::End { run: self.run });
    }
}

/// Tells the guard that the leader of a run was asked to stop.
pub(in super::super) struct Asker {
    messages: Sender<Vec<u8>>,
    run: u64,
}

impl Asker {
    pub(in super::super) fn asked(&self) {
        send(&self.messages, &Message::Asked { run: self.run });
    }
}

/// A message that does not arrive means that the guard has ended, or that this program does.
fn send(messages: &Sender<Vec<u8>>, message: &Message) {
    if let Some(bytes) = message.encode() {
        let _ = messages.send(bytes);
    }
}

/// The guard's process. Drop lets it end, when all that was sent has arrived.
#[derive(Debug)]
struct Guard {
    process: OwnedHandle,
    messages: Sender<Vec<u8>>,
}

impl Guard {
    /// Starts this program as a guard. Does not wait until the guard works: what is sent waits in the pipe, also beyond our death.
    fn start(program: &Path) -> io::Result<Self> {
        let value = own_program::fresh_value()?;
        let mut command = Command::new(program);
        command
            .arg(own_program::argument(&value))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // It needs no console, and must not get the Ctrl-C of ours.
            .creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
        if let Some(folder) = program.parent() {
            // A process keeps its directory from being removed.
            command.current_dir(folder);
        }
        #[expect(clippy::disallowed_methods, reason = "the guard ends with its stdin")]
        let mut child = error_mode::without_error_boxes(|| command.spawn())?;
        let streams = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = streams.ok_or_else(|| io::Error::other("its streams were not piped"))?;
        let process = child.as_handle().try_clone_to_owned()?;
        let (messages, queue) = mpsc::channel();
        let _ = messages.send(value.into_bytes());
        // On a thread: a guard that a debugger holds does not read.
        thread::Builder::new().name("pillion-guard".to_owned()).spawn(move || write(stdin, &queue))?;
        let start = move || end_if_silent(child, stdout, START_TIMEOUT);
        thread::Builder::new().name("pillion-guard-start".to_owned()).spawn(start)?;
        Ok(Self { process, messages })
    }
}

/// Waits until the guard works, which it says by a byte, and ends it if it does not in time. A guard that is suspended before its first
/// instruction would keep the jobs open after our death, and with them the sidecars.
fn end_if_silent(mut guard: Child, mut stdout: ChildStdout, timeout: Duration) {
    let (answer, answered) = mpsc::channel::<()>();
    let read = move || {
        let _answer = answer;
        let _ = stdout.read(&mut [0]);
    };
    if thread::Builder::new().spawn(read).is_ok()
        && answered.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout)
    {
        tracing::warn!(
            "the guard does not work, and was ended: if this program is killed, its sidecars are killed at once"
        );
        let _ = guard.kill();
    }
}

/// Writes the messages until the guard is dropped or has ended, and then ends its stdin.
fn write(mut stdin: ChildStdin, queue: &Receiver<Vec<u8>>) {
    for message in queue {
        if let Err(error) = stdin.write_all(&message) {
            tracing::warn!(%error, "the guard has ended: if this program is killed, its sidecars are killed at once");
            return;
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test ends its child")]
mod tests {
    use super::*;

    /// A process that waits for its stdin after this command.
    fn start(command: &str) -> (OwnedHandle, ChildStdin, Child, ChildStdout) {
        let mut shell = Command::new("cmd");
        shell.arg("/c").raw_arg(format!("{command}pause >nul"));
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        (child.as_handle().try_clone_to_owned().unwrap(), stdin, child, stdout)
    }

    #[test]
    fn a_guard_that_says_nothing_is_ended() {
        let (process, _stdin, child, stdout) = start("");
        assert!(is_alive(process.as_handle()));
        end_if_silent(child, stdout, Duration::from_millis(1));
        while is_alive(process.as_handle()) {
            thread::yield_now();
        }
    }

    #[test]
    fn a_guard_that_works_is_left_alone() {
        let (process, stdin, child, stdout) = start("echo.&");
        end_if_silent(child, stdout, Duration::MAX);
        assert!(is_alive(process.as_handle()));
        drop(stdin);
    }
}
