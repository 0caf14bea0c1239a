//! A sidecar under a guard: a small process between us and it, which survives us and cleans up.
//!
//! The guard's side, and what is said over the socket between us, is described in `pillion-guard/program/main.rs`.

use std::{
    io::{self, BufRead, BufReader, Write},
    mem::MaybeUninit,
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
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
        platform::{self, Executable},
    },
    reap, spawn,
};
use crate::{listener::Listener, status::Exit};

/// How long a guard may take to start the program: as long as the file system needs to find it.
const START: Duration = Duration::from_secs(30);

/// What the guard has told.
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
    /// Its end is the app's death to the guard: it asks, and kills after the grace period.
    control: UnixStream,
    told: watch::Receiver<GuardReport>,
}

impl Guarded {
    /// Has a guard start the program. The outer error is the program's; the inner one says why there is no guard.
    pub(super) fn spawn(request: &SpawnRequest) -> io::Result<Result<(Self, Child), String>> {
        let program = match program() {
            Ok(program) => program,
            Err(why) => return Ok(Err(why)),
        };
        let pair = match UnixStream::pair() {
            Ok(pair) => pair,
            Err(error) => return Ok(Err(format!("no socket for the guard: {error}"))),
        };
        let (control, theirs) = pair;
        if let Some(listener) = &request.listener
            && let Err(error) = send(&control, fd(listener))
        {
            return Ok(Err(format!("the listener could not be handed over: {error}")));
        }
        let mut child = match spawn(&mut command(program.path(), request, theirs.into())) {
            Ok(child) => child,
            Err(error) => return Ok(Err(format!("the guard could not be started: {error}"))),
        };
        let guard = super::pid(&child);
        // It runs for certain, and needs its file no more, once it has spoken: until then the program is kept.
        match first_words(&control) {
            Ok(Ok(leader)) => {
                let (tell, told) = watch::channel(GuardReport::default());
                let listening = Listening { guard, reaped: false, tell, mark: request.mark.clone() };
                let heard = control.try_clone().and_then(|socket| {
                    socket.set_nonblocking(true)?;
                    tokio::net::UnixStream::from_std(socket)
                })?;
                tokio::spawn(listening.listen(heard));
                Ok(Ok((Self { guard, leader, control, told }, child)))
            }
            Ok(Err(error)) => {
                reap(guard, true);
                Err(error)
            }
            Err(error) => {
                // Silent or dead: it has started nothing that outlives the end of the socket, or its own death.
                let _ = child.kill();
                reap(guard, false);
                Ok(Err(format!("the guard did not answer: {error}")))
            }
        }
    }

    pub(super) fn leader(&self) -> Pid {
        self.leader
    }

    pub(super) async fn wait_exit(&self) -> Exit {
        self.told(|told| told.exit).await
    }

    pub(super) async fn wait_empty(&self) {
        self.told(|told| told.gone.then_some(())).await;
    }

    /// Waits until the guard has told this.
    async fn told<T>(&self, what: impl Fn(&GuardReport) -> Option<T>) -> T {
        let mut told = self.told.clone();
        if let Ok(told) = told.wait_for(|told| what(told).is_some()).await
            && let Some(what) = what(&told)
        {
            return what;
        }
        // Nobody listens any more: the runtime shuts down, and with it the task that would act on an answer. It must not
        // take that for the sidecar's end.
        std::future::pending().await
    }

    pub(super) fn terminate(&self) {
        self.say(b"A");
    }

    pub(super) fn kill(&self) {
        self.say(b"K");
    }

    fn say(&self, byte: &[u8; 1]) {
        self.wake();
        // The socket holds thousands of these, and a guard that is gone has nothing left to do.
        let _ = (&self.control).write_all(byte);
    }

    /// Continues the guard, which somebody may have stopped, as whoever stops every process of a user does.
    fn wake(&self) {
        // While this is borrowed the guard cannot be reaped, and its number is its own.
        let told = self.told.borrow();
        if !told.gone {
            let _ = kill_process(self.guard, Signal::CONT);
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Closed it is not yet: who listens to the guard has it, too.
        let _ = self.control.shutdown(Shutdown::Write);
        // Stopped, it would not see the end of the socket.
        self.wake();
    }
}

fn command(program: &Path, request: &SpawnRequest, control: OwnedFd) -> Command {
    let mut guard = Command::new(program);
    let grace = u64::try_from(request.grace.as_millis()).unwrap_or(u64::MAX);
    guard.arg0("pillion-guard").arg(grace.to_string());
    guard.arg(if request.listener.is_some() { "1" } else { "0" });
    guard.arg(request.command.get_program()).args(request.command.get_args());
    // The request's environment is whole: what is not in it is not inherited.
    guard.env_clear();
    for (name, value) in request.command.get_envs() {
        if let Some(value) = value {
            guard.env(name, value);
        }
    }
    if request.listener.is_some() {
        guard.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "http");
        // Room for any process id, which the guard writes there once it knows it.
        guard.env("LISTEN_PID", "0".repeat(20));
    }
    if let Some(dir) = request.command.get_current_dir() {
        guard.current_dir(dir);
    }
    guard.stdin(Stdio::from(control)).stdout(Stdio::piped()).stderr(Stdio::piped());
    guard
}

fn fd(listener: &Listener) -> BorrowedFd<'_> {
    match listener {
        Listener::Tcp(listener) => listener.as_fd(),
        Listener::Unix(listener) => listener.as_fd(),
    }
}

/// Sends a descriptor along with one byte (`SCM_RIGHTS`, unix(7)).
fn send(control: &UnixStream, fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    rights.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(control, &[io::IoSlice::new(b"L")], &mut rights, SendFlags::empty())?;
    Ok(())
}

/// Reads whether the program was started: its process id, or why it was not.
fn first_words(control: &UnixStream) -> io::Result<io::Result<Pid>> {
    control.set_read_timeout(Some(START))?;
    // Unbuffered but for the one line: what follows is for the listener.
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(1, control);
    reader.read_line(&mut line)?;
    control.set_read_timeout(None)?;
    let odd = || io::Error::other(format!("it said {line:?}"));
    match line.trim_end().split_once(' ') {
        Some(("spawned", pid)) => pid.parse().ok().and_then(Pid::from_raw).map(Ok).ok_or_else(odd),
        Some(("failed", errno)) => Ok(Err(io::Error::from_raw_os_error(errno.parse().map_err(|_| odd())?))),
        _ => Err(odd()),
    }
}

/// The one who hears what the guard tells, and reaps it.
struct Listening {
    guard: Pid,
    reaped: bool,
    tell: watch::Sender<GuardReport>,
    mark: String,
}

impl Listening {
    async fn listen(mut self, control: tokio::net::UnixStream) {
        let mut lines = AsyncBufReader::new(control).lines();
        let mut gone = false;
        while let Ok(Some(line)) = lines.next_line().await {
            gone |= line == "gone";
            self.tell.send_modify(|told| told.hear(&line));
        }
        if !gone {
            tracing::warn!("a guard was killed; killing what it guarded");
            let mark = self.mark.clone();
            // It reads every process's environment: not on a thread of the runtime.
            let _ = tokio::task::spawn_blocking(move || platform::kill_marked(&mark)).await;
        }
        let guard = self.guard;
        self.reaped = true;
        self.tell.send_modify(|told| {
            // The end of the socket was the guard's own end. Reaped under the lock, so that nobody signals a stranger.
            reap(guard, true);
            told.exit.get_or_insert(Exit { code: None, signal: None });
            told.gone = true;
        });
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // The runtime shuts down: the guard goes on for at most the grace period.
        if !self.reaped {
            reap(self.guard, false);
        }
    }
}

impl GuardReport {
    fn hear(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("exited", code)) => self.exit = Some(Exit { code: code.parse().ok(), signal: None }),
            Some(("signalled", number)) => self.exit = Some(Exit { code: None, signal: number.parse().ok() }),
            _ => {}
        }
    }
}

/// The guard's program; or why there is none.
fn program() -> Result<Executable, String> {
    match pillion_guard::PROGRAM {
        [] => Err("this build carries no guard for this system".to_owned()),
        bytes => Executable::new(bytes).map_err(|error| format!("no place to run the guard from: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;

    /// A shell that has written a line, and waits for the end of its stdin.
    fn sidecar() -> (Guarded, impl Read) {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo up; read line"]);
        let request = SpawnRequest {
            command,
            grace: Duration::from_secs(3600),
            mark: "A=B".to_owned(),
            listener: None,
        };
        let (group, mut child) = Guarded::spawn(&request).unwrap().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut String::new()).unwrap();
        (group, output)
    }

    #[tokio::test]
    async fn dropping_is_the_end_to_a_guard_although_we_live_on() {
        let (group, mut output) = sidecar();
        drop(group);
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0, "nobody holds the pipe any more");
    }

    #[tokio::test]
    async fn so_it_is_to_one_that_is_stopped() {
        let (group, mut output) = sidecar();
        kill_process(group.guard, Signal::STOP).unwrap();
        waitid(WaitId::Pid(group.guard), WaitIdOptions::STOPPED).unwrap();
        drop(group);
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0, "nobody holds the pipe any more");
    }
}
