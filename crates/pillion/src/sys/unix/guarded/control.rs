//! The supervisor's side of the control socket: the guard's first message, its reports, and its end.
//!
//! `pillion-guard/program/guard.rs` describes the messages.

use std::{
    collections::VecDeque,
    io::{self, Read},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::retry_on_intr,
    net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg},
    process::Pid,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::watch,
};

use super::super::{
    super::{Known, SpawnRequest, Used, platform},
    reap,
};
use crate::status::Exit;

/// How long a guard may take to start the program. The file system may need long to find it.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What the guard has reported so far.
#[derive(Debug, Clone, Default)]
pub(super) struct GuardReport {
    /// How the leader ended, if it has.
    pub(super) exit: Option<Exit>,
    /// Whether the leader left a core dump.
    pub(super) core_dumped: Option<bool>,
    /// What all processes have used.
    pub(super) used: Used,
    /// Whether the guard has said that no process of the sidecar is left. It ends then.
    pub(super) none_left: bool,
    /// Whether no process of the sidecar is left, and the guard is reaped.
    pub(super) gone: bool,
    /// The leader, by process id and start time (macOS: unique id). Apart from the others, which are bounded: it is never forgotten.
    leader: Option<(i32, u64)>,
    /// Descendants that have left the guard's session, in the same way: those of them that have no marker could not be found after the
    /// guard's death.
    remembered: VecDeque<(i32, u64)>,
    /// How many more reports may come until those that have ended are looked for.
    until_look: usize,
}

/// How many descendants are remembered; a sidecar that starts daemons all the time must not take more memory.
const REMEMBERED: usize = 4096;
/// How many reports lie between two looks for those that have ended: a look costs a system call or more for each.
const BETWEEN_LOOKS: usize = REMEMBERED / 4;

/// How many bytes of the guard's lines are read at once. All that it says of an end is shorter.
const REPORT_SIZE: usize = 256;

/// A command for the guard.
pub(super) enum GuardCommand<'a> {
    TerminateLeader,
    TerminateGroup,
    /// Remember this prepared HTTP request for the app's death.
    SetHttpStop(&'a [u8]),
    /// The supervisor has asked the leader by HTTP.
    HttpStopSent,
    Kill,
}

impl GuardCommand<'_> {
    /// The bytes on the control socket. `None` for an HTTP request that is too long.
    pub(super) fn encode(self) -> Option<Vec<u8>> {
        Some(match self {
            Self::TerminateLeader => b"A".to_vec(),
            Self::TerminateGroup => b"G".to_vec(),
            Self::SetHttpStop(request) => {
                let length = u32::try_from(request.len()).ok()?;
                [b"H", &length.to_le_bytes()[..], request].concat()
            }
            Self::HttpStopSent => b"D".to_vec(),
            Self::Kill => b"K".to_vec(),
        })
    }
}

/// Reads the guard's lines, and reaps the guard when it ends.
pub(super) struct ReportReader {
    guard: Pid,
    reaped: bool,
    report: watch::Sender<GuardReport>,
    /// The process marker of the run, by which its processes are found after the guard's death.
    marker: String,
}

/// Sends the guard the listener, the sidecar's stdin if that is not a lifeline, the file of the run, the journal, and the read ends of the
/// sidecar's output, which it drains after our death. One byte carries them (`SCM_RIGHTS`, unix(7)).
pub(super) fn send_fds(
    control: &UnixStream,
    request: &SpawnRequest,
    outputs: &[OwnedFd; 2],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(6))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let outputs = outputs.each_ref().map(|output| Some(output.as_fd()));
    let inputs = [
        request.listener.as_ref().map(AsFd::as_fd),
        request.stdin.as_ref().map(AsFd::as_fd),
        request.run_file.as_ref().map(AsFd::as_fd),
        request.journal.as_ref().map(|(memory, _)| memory.as_fd()),
    ];
    let fds: Vec<_> = inputs.into_iter().chain(outputs).flatten().collect();
    rights.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(control, &[io::IoSlice::new(b"F")], &mut rights, SendFlags::empty())?;
    Ok(())
}

/// Reads the guard's first lines: what the guard cannot do, and the program's process id or why the program could not be
/// started.
pub(super) fn read_start_report(control: &UnixStream) -> io::Result<io::Result<(Pid, Option<String>)>> {
    // Stays: it has no effect on the reads of `ReportReader`, which wait for nothing.
    control.set_read_timeout(Some(START_TIMEOUT))?;
    let mut limited = None;
    loop {
        let line = read_line(control)?;
        let unexpected = || io::Error::other(format!("unexpected line {line:?}"));
        match line.trim_end().split_once(' ') {
            Some(("limited", why)) => limited = Some(why.to_owned()),
            Some(("spawned", pid)) => {
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

/// Reads one line, and leaves what follows it in the socket, for `ReportReader`.
fn read_line(control: &UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut part = [0; REPORT_SIZE];
        let (_, there) = retry_on_intr(|| recv(control, &mut part[..], RecvFlags::PEEK))?;
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = part[..there].iter().position(|byte| *byte == b'\n').map_or(there, |newline| newline + 1);
        let mut control = control;
        control.read_exact(&mut part[..end])?;
        line.extend_from_slice(&part[..end]);
    }
    String::from_utf8(line).map_err(io::Error::other)
}

impl ReportReader {
    pub(super) fn new(guard: Pid, report: watch::Sender<GuardReport>, marker: String) -> Self {
        Self { guard, reaped: false, report, marker }
    }

    /// Reads until the guard has ended.
    pub(super) async fn run(mut self, mut control: ReportSocket) {
        while let Some(lines) = control.lines().await {
            self.report
                .send_modify(|report| lines.iter().for_each(|line| report.add(line, platform::exists)));
        }
        let gone = self.report.borrow().none_left;
        if !gone {
            tracing::warn!("a guard was killed; killing the processes that it guarded");
            let known = Known {
                marker: self.marker.clone(),
                // The guard is not reaped yet, so that no other session has this number.
                session: Some(self.guard),
                remembered: self.report.borrow().known(),
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

/// Our end of the control socket, to read the guard's lines.
pub(super) struct ReportSocket {
    /// Waits for reading alone: a socket can be written to at once, and the system would wake a thread to say so.
    socket: AsyncFd<Arc<UnixStream>>,
    /// The beginning of a line.
    unfinished: Vec<u8>,
}

impl ReportSocket {
    /// # Panics
    /// Outside the context of a tokio runtime with I/O.
    pub(super) fn new(socket: Arc<UnixStream>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        #[expect(unsafe_code, reason = "tokio cannot check that the descriptor stays the same")]
        // SAFETY: a `UnixStream` refers to one open descriptor for as long as it lives, and `AsyncFd` keeps it alive.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket, unfinished: Vec::new() })
    }

    /// The next lines; several that the guard has sent at once come together. `None` at the end.
    async fn lines(&mut self) -> Option<Vec<String>> {
        loop {
            let mut ready = self.socket.readable().await.ok()?;
            let mut part = [0; REPORT_SIZE];
            let Ok(read) = ready.try_io(|socket| {
                retry_on_intr(|| recv(socket, &mut part[..], RecvFlags::empty())).map_err(io::Error::from)
            }) else {
                continue;
            };
            let (_, count) = read.ok().filter(|(_, count)| *count > 0)?;
            if count < part.len() {
                // The socket is empty, so that the next event is a new one (epoll(7)).
                ready.clear_ready();
            }
            self.unfinished.extend_from_slice(&part[..count]);
            if let Some(newline) = self.unfinished.iter().rposition(|byte| *byte == b'\n') {
                let rest = self.unfinished.split_off(newline + 1);
                let lines = String::from_utf8(std::mem::replace(&mut self.unfinished, rest)).ok()?;
                return Some(lines.lines().map(str::to_owned).collect());
            }
        }
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
    /// What is known at the start: the leader. It is found after the guard's death even if the system hides its environment.
    pub(super) fn of(leader: Pid, identity: Option<u64>) -> Self {
        let leader = identity.map(|identity| (leader.as_raw_nonzero().get(), identity));
        Self { leader, ..Self::default() }
    }

    /// The processes that are known by their identity.
    pub(super) fn known(&self) -> Vec<(i32, u64)> {
        self.leader.into_iter().chain(self.remembered.iter().copied()).collect()
    }

    /// Adds one line of the guard. `exists` tells whether a process exists.
    fn add(&mut self, line: &str, exists: impl Fn(i32, u64) -> bool) {
        match line.split_once(' ') {
            Some(("exited", code)) => {
                self.exit = Some(Exit { code: code.parse().ok(), signal: None });
                self.core_dumped = Some(false);
            }
            Some(("signalled", number)) => {
                let dumped = number.strip_suffix(" core");
                self.exit = Some(Exit { code: None, signal: dumped.unwrap_or(number).parse().ok() });
                self.core_dumped = Some(dumped.is_some());
            }
            None if line == "gone" => self.none_left = true,
            Some(("used", used)) => {
                if let Some((micros, bytes)) = used.split_once(' ') {
                    self.used = Used {
                        cpu_time: micros.parse().ok().map(Duration::from_micros),
                        peak_memory: bytes.parse().ok(),
                    };
                }
            }
            Some(("remember", process)) => {
                if let Some((pid, start_time)) = process.split_once(' ')
                    && let (Ok(pid), Ok(start_time)) = (pid.parse(), start_time.parse())
                {
                    self.remember(pid, start_time, exists);
                }
            }
            _ => {}
        }
    }

    /// Adds a process. If there are too many, those that have ended are forgotten, and otherwise the oldest one.
    fn remember(&mut self, pid: i32, start_time: u64, exists: impl Fn(i32, u64) -> bool) {
        self.until_look = self.until_look.saturating_sub(1);
        if self.remembered.len() == REMEMBERED && self.until_look == 0 {
            self.until_look = BETWEEN_LOOKS;
            self.remembered.retain(|(pid, start_time)| exists(*pid, *start_time));
        }
        if self.remembered.len() == REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back((pid, start_time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_known_however_many_daemons_follow() {
        let mut report = GuardReport::of(Pid::INIT, Some(7));
        for number in 0..2 * REMEMBERED {
            report.add(&format!("remember {} {number}", number + 2), |_, _| true);
        }
        let known = report.known();
        assert_eq!((known[0], known.len()), ((1, 7), REMEMBERED + 1));
        assert_eq!(known.last(), Some(&(2 * REMEMBERED as i32 + 1, 2 * REMEMBERED as u64 - 1)));
    }

    #[test]
    fn a_daemon_that_lives_is_known_however_many_have_ended() {
        let mut report = GuardReport::default();
        let lives = |pid, start_time| (pid, start_time) == (7, 70);
        report.add("remember 7 70", lives);
        for number in 0..3 * REMEMBERED {
            report.add(&format!("remember 9 {number}"), lives);
        }
        let known = report.known();
        assert!(known.contains(&(7, 70)) && known.len() <= REMEMBERED, "{}", known.len());
    }

    #[tokio::test]
    async fn what_follows_the_start_report_is_left_for_the_reader() {
        use std::io::Write as _;

        let (ours, mut guard) = UnixStream::pair().unwrap();
        guard.write_all(b"limited a b\nspawned 7\nexited 0\nused 1 2\n").unwrap();
        let (leader, limited) = read_start_report(&ours).unwrap().unwrap();
        assert_eq!((leader.as_raw_nonzero().get(), limited.as_deref()), (7, Some("a b")));
        let mut socket = ReportSocket::new(Arc::new(ours)).unwrap();
        assert_eq!(socket.lines().await.unwrap(), ["exited 0", "used 1 2"]);
        guard.write_all(b"go").unwrap();
        while socket.unfinished.is_empty() {
            tokio::select! {
                biased;
                lines = socket.lines() => panic!("{lines:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        guard.write_all(b"ne\n").unwrap();
        assert_eq!(socket.lines().await.unwrap(), ["gone"]);
        drop(guard);
        assert_eq!(socket.lines().await, None);
    }

    #[test]
    fn an_identity_is_that_of_a_child() {
        let parent = rustix::process::getppid().unwrap();
        let own = rustix::process::getpid();
        assert!(platform::identity_of_child(own, parent).is_some());
        assert_eq!(platform::identity_of_child(own, own), None);
        assert_eq!(platform::identity_of_child(parent, own), None);
    }
}
