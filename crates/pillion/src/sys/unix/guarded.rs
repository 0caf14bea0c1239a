//! A sidecar under a guard: a small process between this program and the sidecar, which outlives this program and cleans up.
//!
//! `pillion-guard/program/main.rs` describes the guard and the messages on the control socket.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Write},
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStringExt, net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::{Pid, Signal, kill_process},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader as AsyncBufReader},
    sync::watch,
};

use super::{
    super::{
        SpawnRequest,
        platform::{self, GuardProgram},
    },
    reap, spawn,
};
use crate::{
    listener::Listener,
    spec::{StopRequest, StopScope},
    status::Exit,
};

/// How long a guard may take to start the program. The file system may need long to find it.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What the guard has reported so far.
#[derive(Debug, Clone, Copy, Default)]
struct GuardReport {
    exit: Option<Exit>,
    gone: bool,
}

/// A sidecar under a guard.
#[derive(Debug)]
pub(crate) struct Guarded {
    guard: Pid,
    leader: Pid,
    /// The control socket. When it ends, the guard terminates the sidecar, and kills it after the grace period.
    control: UnixStream,
    report: watch::Receiver<GuardReport>,
}

impl Guarded {
    /// Starts a guard, which starts the program. The outer error is the program's; the inner one says why no guard runs.
    pub(super) fn spawn(request: &SpawnRequest) -> io::Result<Result<(Self, Child), String>> {
        let program = match program() {
            Ok(program) => program,
            Err(why) => return Ok(Err(why)),
        };
        let pair = match UnixStream::pair() {
            Ok(pair) => pair,
            Err(error) => return Ok(Err(format!("no socket for the guard: {error}"))),
        };
        let (control, guard_end) = pair;
        if let Some(listener) = &request.listener
            && let Err(error) = send(&control, fd(listener))
        {
            return Ok(Err(format!("the listener could not be handed over: {error}")));
        }
        let mut child = match spawn(&mut command(program.path(), request, guard_end.into())) {
            Ok(child) => child,
            Err(error) => return Ok(Err(format!("the guard could not be started: {error}"))),
        };
        let guard = super::pid(&child);
        // `program` must exist until the guard has sent its first line: only then is it certain that the guard was executed.
        match read_start_report(&control) {
            Ok(Ok(leader)) => {
                let (sender, report) = watch::channel(GuardReport::default());
                let reader =
                    ReportReader { guard, reaped: false, report: sender, marker: request.marker.clone() };
                let stream = control.try_clone().and_then(|socket| {
                    socket.set_nonblocking(true)?;
                    tokio::net::UnixStream::from_std(socket)
                })?;
                tokio::spawn(reader.run(stream));
                Ok(Ok((Self { guard, leader, control, report }, child)))
            }
            Ok(Err(error)) => {
                reap(guard, true);
                Err(error)
            }
            Err(error) => {
                // Silent or dead. Whatever it started ends with the control socket or with the guard's death.
                let _ = child.kill();
                reap(guard, false);
                Ok(Err(format!("the guard did not answer: {error}")))
            }
        }
    }

    pub(super) fn leader(&self) -> Pid {
        self.leader
    }

    #[cfg(target_os = "linux")]
    pub(super) fn guard(&self) -> Pid {
        self.guard
    }

    pub(super) async fn wait_exit(&self) -> Exit {
        self.reported(|report| report.exit).await
    }

    pub(super) async fn wait_empty(&self) {
        self.reported(|report| report.gone.then_some(())).await;
    }

    /// Waits until the report contains this part.
    async fn reported<T>(&self, part: impl Fn(&GuardReport) -> Option<T>) -> T {
        let mut report = self.report.clone();
        if let Ok(report) = report.wait_for(|report| part(report).is_some()).await
            && let Some(part) = part(&report)
        {
            return part;
        }
        // The reader's task was dropped: the runtime shuts down, together with the calling task. The caller must not take
        // this for the sidecar's end.
        std::future::pending().await
    }

    pub(super) fn terminate_leader(&self) {
        self.send_command(b"A");
    }

    pub(super) fn terminate_group(&self) {
        self.send_command(b"G");
    }

    pub(super) fn set_http_stop(&self, request: &[u8]) {
        if let Ok(length) = u32::try_from(request.len()) {
            self.send_command(&[b"H", &length.to_le_bytes()[..], request].concat());
        }
    }

    pub(super) fn http_stop_sent(&self) {
        self.send_command(b"D");
    }

    pub(super) fn kill(&self) {
        self.send_command(b"K");
    }

    fn send_command(&self, command: &[u8]) {
        self.wake();
        // Never blocks: the socket buffers many commands. An error means that the guard has ended.
        let _ = (&self.control).write_all(command);
    }

    /// Continues the guard, in case it was stopped (SIGSTOP).
    fn wake(&self) {
        // The guard is reaped under the lock of this channel. While the report is borrowed, its process id stays valid.
        let report = self.report.borrow();
        if !report.gone {
            let _ = kill_process(self.guard, Signal::CONT);
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Shut down, because closing is not enough: the reader's task holds a duplicate.
        let _ = self.control.shutdown(Shutdown::Write);
        // A stopped guard does not see the end of the socket.
        self.wake();
    }
}

fn command(program: &Path, request: &SpawnRequest, control: OwnedFd) -> Command {
    let mut guard = Command::new(program);
    let grace = u64::try_from(request.grace.as_millis()).unwrap_or(u64::MAX);
    guard.arg0("pillion-guard").arg(grace.to_string());
    guard.arg(if request.listener.is_some() { "1" } else { "0" });
    guard.arg(stop_argument(&request.stop));
    guard.arg(request.command.get_program()).args(request.command.get_args());
    // The request holds the complete environment: nothing else is inherited.
    guard.env_clear();
    for (name, value) in request.command.get_envs() {
        if let Some(value) = value {
            guard.env(name, value);
        }
    }
    if request.listener.is_some() {
        guard.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "http");
        // Space for any process id. The guard writes the id after the fork.
        guard.env("LISTEN_PID", "0".repeat(20));
    }
    if let Some(dir) = request.command.get_current_dir() {
        guard.current_dir(dir);
    }
    guard.stdin(Stdio::from(control)).stdout(Stdio::piped()).stderr(Stdio::piped());
    guard
}

/// The stop request in the form that the guard reads: signal, scope, and the text for stdin.
fn stop_argument(stop: &StopRequest) -> OsString {
    let scope = match stop.scope {
        StopScope::Leader => "leader",
        StopScope::Group => "group",
    };
    let mut argument = format!("{},{scope},", super::signal(stop.signal).as_raw()).into_bytes();
    // An argument cannot hold a zero byte.
    argument.extend(stop.stdin_bytes().unwrap_or_default().into_iter().filter(|byte| *byte != 0));
    OsString::from_vec(argument)
}

fn fd(listener: &Listener) -> BorrowedFd<'_> {
    match listener {
        Listener::Tcp(listener) => listener.as_fd(),
        Listener::Unix(listener) => listener.as_fd(),
    }
}

/// Sends a descriptor with one byte (`SCM_RIGHTS`, unix(7)).
fn send(control: &UnixStream, fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    rights.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(control, &[io::IoSlice::new(b"L")], &mut rights, SendFlags::empty())?;
    Ok(())
}

/// Reads the guard's first line: the program's process id, or why the program could not be started.
fn read_start_report(control: &UnixStream) -> io::Result<io::Result<Pid>> {
    control.set_read_timeout(Some(START_TIMEOUT))?;
    // A buffer of one byte: what follows the line belongs to `ReportReader`.
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(1, control);
    reader.read_line(&mut line)?;
    control.set_read_timeout(None)?;
    let unexpected = || io::Error::other(format!("unexpected line {line:?}"));
    match line.trim_end().split_once(' ') {
        Some(("spawned", pid)) => pid.parse().ok().and_then(Pid::from_raw).map(Ok).ok_or_else(unexpected),
        Some(("failed", errno)) => {
            Ok(Err(io::Error::from_raw_os_error(errno.parse().map_err(|_| unexpected())?)))
        }
        _ => Err(unexpected()),
    }
}

/// Reads the guard's lines, and reaps the guard when it ends.
struct ReportReader {
    guard: Pid,
    reaped: bool,
    report: watch::Sender<GuardReport>,
    marker: String,
}

impl ReportReader {
    async fn run(mut self, control: tokio::net::UnixStream) {
        let mut lines = AsyncBufReader::new(control).lines();
        let mut gone = false;
        while let Ok(Some(line)) = lines.next_line().await {
            gone |= line == "gone";
            self.report.send_modify(|report| report.add(&line));
        }
        if !gone {
            tracing::warn!("a guard was killed; killing the processes that it guarded");
            let marker = self.marker.clone();
            // Blocks: it reads the environment of every process.
            let _ = tokio::task::spawn_blocking(move || platform::kill_marked(&marker)).await;
        }
        let guard = self.guard;
        self.reaped = true;
        self.report.send_modify(|report| {
            // The guard has closed the socket, so it has ended. It is reaped under the lock: `wake` must not signal a process
            // that reuses its id.
            reap(guard, true);
            report.exit.get_or_insert(Exit { code: None, signal: None });
            report.gone = true;
        });
    }
}

impl Drop for ReportReader {
    fn drop(&mut self) {
        // The runtime shuts down. The guard lives on for at most the grace period.
        if !self.reaped {
            reap(self.guard, false);
        }
    }
}

impl GuardReport {
    fn add(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("exited", code)) => self.exit = Some(Exit { code: code.parse().ok(), signal: None }),
            Some(("signalled", number)) => self.exit = Some(Exit { code: None, signal: number.parse().ok() }),
            _ => {}
        }
    }
}

/// The guard's program, or why this build or system has none.
fn program() -> Result<GuardProgram, String> {
    match pillion_guard::PROGRAM {
        [] => Err("this build contains no guard for this system".to_owned()),
        bytes => {
            GuardProgram::new(bytes).map_err(|error| format!("the guard's program cannot be stored: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    /// A shell that ignores SIGTERM, has written a line, and waits for the end of its stdin.
    fn sidecar() -> (Guarded, impl Read) {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo up; read line"]);
        let request = SpawnRequest {
            command,
            grace: Duration::from_secs(3600),
            marker: "A=B".to_owned(),
            stop: StopRequest::default(),
            listener: None,
        };
        let (group, mut child) = Guarded::spawn(&request).unwrap().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut String::new()).unwrap();
        (group, output)
    }

    #[tokio::test]
    async fn drop_makes_the_guard_end_the_sidecar() {
        let (group, mut output) = sidecar();
        drop(group);
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0, "no process holds the pipe");
    }

    #[tokio::test]
    async fn drop_continues_a_stopped_guard() {
        let (group, mut output) = sidecar();
        kill_process(group.guard, Signal::STOP).unwrap();
        waitid(WaitId::Pid(group.guard), WaitIdOptions::STOPPED).unwrap();
        drop(group);
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0, "no process holds the pipe");
    }
}
