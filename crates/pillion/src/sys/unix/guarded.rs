//! A sidecar under a guard: a small process between this program and the sidecar, which outlives this program and cleans up.
//!
//! `pillion-guard/program/main.rs` describes the guard and the messages on the control socket.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    io::{self, BufRead, BufReader, Write},
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::{OsStrExt, OsStringExt},
            net::UnixStream,
            process::CommandExt,
        },
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
        Known, SpawnRequest,
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
#[derive(Debug, Clone, Default)]
struct GuardReport {
    exit: Option<Exit>,
    gone: bool,
    /// Descendants that have left the guard's session, by process id and start time: those of them that have no marker could
    /// not be found after the guard's death.
    remembered: VecDeque<(i32, u64)>,
}

/// How many of them are remembered; a sidecar that starts daemons all the time must not take more memory.
const REMEMBERED: usize = 4096;

/// A sidecar under a guard.
#[derive(Debug)]
pub(crate) struct Guarded {
    guard: Pid,
    leader: Pid,
    /// The control socket. When it ends, the guard terminates the sidecar, and kills it after the grace period.
    control: UnixStream,
    report: watch::Receiver<GuardReport>,
}

/// A guard that runs, its process, and what it cannot do.
type Started = (Guarded, Child, Option<String>);

impl Guarded {
    /// Starts a guard, which starts the program. The outer error is the program's; the inner one says why no guard runs.
    pub(super) fn spawn(request: &SpawnRequest) -> io::Result<Result<Started, String>> {
        let pair = match UnixStream::pair() {
            Ok(pair) => pair,
            Err(error) => return Ok(Err(format!("no socket for the guard: {error}"))),
        };
        let (control, guard_end) = pair;
        let (mut child, _program) = match execute(request, guard_end.into()) {
            Ok(executed) => executed,
            Err(why) => return Ok(Err(why)),
        };
        let guard = super::pid(&child);
        let sent = send_fds(&control, request.listener.as_ref(), &child);
        // `_program` must exist until the guard has sent its first line: only then is it certain that the guard was executed.
        match sent.and_then(|()| read_start_report(&control)) {
            Ok(Ok((leader, limited))) => {
                let (sender, report) = watch::channel(GuardReport::default());
                let reader =
                    ReportReader { guard, reaped: false, report: sender, marker: request.marker.clone() };
                let stream = control.try_clone().and_then(|socket| {
                    socket.set_nonblocking(true)?;
                    tokio::net::UnixStream::from_std(socket)
                })?;
                tokio::spawn(reader.run(stream));
                let limited = limited.or_else(platform::guard_limitation);
                Ok(Ok((Self { guard, leader, control, report }, child, limited)))
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

    /// Kills the guard. `ReportReader` notices its death, and kills what it guarded.
    pub(super) fn kill_guard(&self) {
        let report = self.report.borrow();
        if !report.gone {
            let _ = kill_process(self.guard, Signal::KILL);
        }
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

/// The variables by which the dynamic linker and libc would change the guard itself (ld.so(8), dyld(1)).
const LOADER_VARIABLES: [&str; 3] = ["LD_", "DYLD_", "GLIBC_TUNABLES"];

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
            // Such variables are meant for the program. The guard gives them their names back before it starts the program.
            let is_for_loader =
                LOADER_VARIABLES.iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()));
            let prefix = if is_for_loader { "PILLION_GUARD_" } else { "" };
            guard.env([OsStr::new(prefix), name].iter().copied().collect::<OsString>(), value);
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

/// Sends the guard the listener, and the read ends of the sidecar's output, which it drains after our death. One byte carries
/// them (`SCM_RIGHTS`, unix(7)).
fn send_fds(control: &UnixStream, listener: Option<&Listener>, child: &Child) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let outputs = [child.stdout.as_ref().map(AsFd::as_fd), child.stderr.as_ref().map(AsFd::as_fd)];
    let fds: Vec<_> = [listener.map(fd)].into_iter().chain(outputs).flatten().collect();
    rights.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(control, &[io::IoSlice::new(b"F")], &mut rights, SendFlags::empty())?;
    Ok(())
}

/// Reads the guard's first lines: what the guard cannot do, and the program's process id or why the program could not be
/// started.
fn read_start_report(control: &UnixStream) -> io::Result<io::Result<(Pid, Option<String>)>> {
    control.set_read_timeout(Some(START_TIMEOUT))?;
    // A buffer of one byte: what follows these lines belongs to `ReportReader`.
    let mut reader = BufReader::with_capacity(1, control);
    let mut limited = None;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let unexpected = || io::Error::other(format!("unexpected line {line:?}"));
        match line.trim_end().split_once(' ') {
            Some(("limited", why)) => limited = Some(why.to_owned()),
            Some(("spawned", pid)) => {
                control.set_read_timeout(None)?;
                let pid = pid.parse().ok().and_then(Pid::from_raw).ok_or_else(unexpected)?;
                return Ok(Ok((pid, limited)));
            }
            Some(("failed", errno)) => {
                let errno = errno.parse().map_err(|_| unexpected())?;
                return Ok(Err(io::Error::from_raw_os_error(errno)));
            }
            _ => return Err(unexpected()),
        }
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
            let known = Known {
                marker: self.marker.clone(),
                // The guard is not reaped yet, so that no other session has this number.
                session: Some(self.guard),
                remembered: self.report.borrow().remembered.iter().copied().collect(),
            };
            // Blocks: it reads the environment of every process.
            let _ = tokio::task::spawn_blocking(move || platform::sweep(&known)).await;
        }
        let guard = self.guard;
        self.reaped = true;
        self.report.send_modify(|report| {
            // The guard has closed the socket, so it has ended. It is reaped under the lock: `wake` must not signal a process
            // that reuses its id.
            // A guard that was killed may be held by a debugger, which reaps it first.
            reap(guard, gone);
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
            Some(("remember", process)) => {
                if let Some((pid, start_time)) = process.split_once(' ')
                    && let (Ok(pid), Ok(start_time)) = (pid.parse(), start_time.parse())
                {
                    if self.remembered.len() == REMEMBERED {
                        self.remembered.pop_front();
                    }
                    self.remembered.push_back((pid, start_time));
                }
            }
            _ => {}
        }
    }
}

/// How often, and at which interval, a busy file is executed again.
const BUSY_RETRIES: u32 = 100;
const BUSY_INTERVAL: Duration = Duration::from_millis(10);

/// Starts the guard's program from the first place from where the system executes it; or says why from none. The program has to
/// be kept until the guard has sent its first line.
fn execute(request: &SpawnRequest, control: OwnedFd) -> Result<(Child, GuardProgram), String> {
    if pillion_guard::PROGRAM.is_empty() {
        return Err("this build contains no guard for this system".to_owned());
    }
    let mut failures = Vec::new();
    for store in platform::PLACES {
        let executed = store(pillion_guard::PROGRAM).and_then(|program| {
            let mut attempts = 0;
            loop {
                match spawn(&mut command(program.path(), request, control.try_clone()?)) {
                    // A process that another thread has just forked still holds the file open for writing (execve(2)).
                    Err(error)
                        if error.kind() == io::ErrorKind::ExecutableFileBusy && attempts < BUSY_RETRIES =>
                    {
                        attempts += 1;
                        std::thread::sleep(BUSY_INTERVAL);
                    }
                    spawned => return Ok((spawned?, program)),
                }
            }
        });
        match executed {
            Ok(executed) => return Ok(executed),
            Err(error) => failures.push(error.to_string()),
        }
    }
    Err(format!("the guard could not be started: {}", failures.join("; ")))
}

#[cfg(test)]
mod tests {
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::{super::OutputPipe, *};

    /// A shell that ignores SIGTERM, has written a line, and waits for the end of its stdin.
    async fn sidecar() -> (Guarded, OutputPipe) {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo up; read line"]);
        start(command).await
    }

    async fn start(command: Command) -> (Guarded, OutputPipe) {
        let request = SpawnRequest {
            command,
            grace: Duration::from_secs(3600),
            marker: "A=B".to_owned(),
            stop: StopRequest::default(),
            listener: None,
        };
        let (group, mut child, _) = Guarded::spawn(&request).unwrap().unwrap();
        let mut output = OutputPipe::new(child.stdout.take().unwrap().into()).unwrap();
        let mut line = [0; 3];
        assert_eq!(output.read(&mut line).await.unwrap(), 3);
        (group, output)
    }

    /// Waits until no process holds the write end. The guard reads as well.
    async fn end(mut output: OutputPipe) {
        while output.read(&mut [0; 64]).await.unwrap() > 0 {}
    }

    #[tokio::test]
    async fn drop_makes_the_guard_end_the_sidecar() {
        let (group, output) = sidecar().await;
        drop(group);
        end(output).await;
    }

    #[tokio::test]
    async fn drop_continues_a_stopped_guard() {
        let (group, output) = sidecar().await;
        kill_process(group.guard, Signal::STOP).unwrap();
        waitid(WaitId::Pid(group.guard), WaitIdOptions::STOPPED).unwrap();
        drop(group);
        end(output).await;
    }

    #[tokio::test]
    async fn the_guard_reads_the_output_when_nobody_else_does() {
        // Dies of SIGPIPE if a line has no reader, and says through a socket that it did not.
        let script = "import signal, socket, sys\n\
             signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
             signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n\
             print('up', flush=True)\n\
             sys.stdin.read()\n\
             for _ in range(1000): print('x' * 1000, flush=True); print('x' * 1000, flush=True, file=sys.stderr)\n\
             socket.create_connection(('127.0.0.1', int(sys.argv[1]))).sendall(b'saved')";
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut command = Command::new("python3");
        command.args(["-c", script, &listener.local_addr().unwrap().port().to_string()]);
        let (group, output) = start(command).await;
        drop((group, output));
        let saved = tokio::time::timeout(Duration::from_secs(60), listener.accept()).await;
        saved.expect("the sidecar lives until it has saved").unwrap();
    }
}
