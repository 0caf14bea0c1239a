//! The system calls that std does not offer, and all of the guard's `unsafe`. Code that differs between systems is in the
//! module named after each system.

mod child_environment;
mod exec;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod macos;
mod outputs;
#[cfg(target_os = "linux")]
#[expect(unreachable_pub, reason = "it is public in this package's library")]
mod proc_stat;
#[cfg(not(target_os = "linux"))]
#[expect(unreachable_pub, reason = "it is public in this package's library")]
mod processes;
mod receive_fds;
mod used;

use std::{
    ffi::{c_char, c_int},
    fmt, fs,
    io::PipeWriter,
    mem::ManuallyDrop,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    process::ExitStatus,
    sync::atomic::{AtomicI32, Ordering},
    time::Duration,
};

use child_environment::environment;
pub(crate) use exec::bind_to_this_process;
#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(not(target_os = "linux"))]
use macos as platform;
pub(crate) use outputs::Outputs;
pub(crate) use platform::{Descendants, IS_SUBREAPER, SIGCONT, kill, lives, name_cleanup};
use platform::{FdCount, KernelEvents, O_NONBLOCK, SIGCHLD};
pub(crate) use receive_fds::Announced;
pub(crate) use used::used_by_children;

use super::{guard_state::GuardState, run_log::RunLog};

const SIGHUP: c_int = 1;
const SIGINT: c_int = 2;
const SIGQUIT: c_int = 3;
pub(crate) const SIGKILL: c_int = 9;
const SIGTERM: c_int = 15;
const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;
const WNOHANG: c_int = 1;
const ENOENT: c_int = 2;
const POLLIN: i16 = 1;

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: i16,
    revents: i16,
}

unsafe extern "C" {
    fn setsid() -> c_int;
    fn signal(signal: c_int, handler: usize) -> usize;
    #[link_name = "kill"]
    fn libc_kill(pid: c_int, signal: c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn poll(fds: *mut PollFd, count: FdCount, timeout: c_int) -> c_int;
    fn pipe(fds: *mut c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn write(fd: c_int, bytes: *const u8, count: usize) -> isize;
    fn read(fd: c_int, bytes: *mut u8, count: usize) -> isize;
    fn getppid() -> c_int;
    fn getpid() -> c_int;
    fn execve(
        file: *const c_char,
        arguments: *const *const c_char,
        environment: *const *const c_char,
    ) -> c_int;
}

/// A process id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pid(c_int);

impl From<u32> for Pid {
    fn from(pid: u32) -> Self {
        Self(pid.cast_signed())
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The self-pipe by which the SIGCHLD handler wakes the main loop: the read end, then the write end.
static CHILD_EXIT_PIPE: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];

/// The result of [`detach`].
pub(crate) struct Detached {
    /// Whether a listener arrived.
    pub(crate) listener: bool,
    /// The sidecar's stdin, if it arrived.
    pub(crate) stdin: Option<OwnedFd>,
    /// The file of the run, if it arrived.
    pub(crate) run_file: Option<OwnedFd>,
    /// The journal, if it arrived.
    pub(crate) journal: Option<OwnedFd>,
    pub(crate) outputs: Outputs,
    /// What the guard cannot do, because the system refused it.
    pub(crate) limited: Option<String>,
}

/// Detaches the guard from everything that could end it together with the app, and closes inherited descriptors. Receives
/// the read ends of the sidecar's output, and what else is announced.
pub(crate) fn detach(announced: Announced) -> Detached {
    // SAFETY: the environment is writable, and no other code uses it: this process has one thread, which holds no reference to
    // it. The other calls touch no memory.
    unsafe {
        setsid();
        for ignored in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            signal(ignored, SIG_IGN);
        }
        child_environment::restore_loader_variables(environment());
        let limited = platform::become_guard();
        let received = receive_fds::receive(announced);
        watch_children();
        // The app is our parent. This call comes after `receive`, because the listener replaces descriptor 3.
        platform::watch_app(getppid());
        Detached {
            listener: received.listener,
            stdin: received.stdin,
            run_file: received.run_file,
            journal: received.journal,
            outputs: Outputs::new(received.outputs),
            limited,
        }
    }
}

/// What a light guard has left.
pub(crate) struct Resumed {
    pub(crate) leader: Pid,
    /// The status of the leader, and when it was reaped, in milliseconds since the Unix epoch.
    pub(crate) ended: Option<(ExitStatus, u128)>,
    pub(crate) lifeline: Option<PipeWriter>,
    pub(crate) run_file: Option<OwnedFd>,
    pub(crate) journal: Option<OwnedFd>,
    pub(crate) outputs: Outputs,
}

/// Takes over what the light guard knew, in its process: session, place as a subreaper and death signal are still there.
pub(crate) fn resume(state: &GuardState) -> Resumed {
    // SAFETY: the light guard has left these descriptors open for us, and no other code knows them.
    let own = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
    platform::name_guard();
    platform::watch_app_by(state.fds.app);
    watch_children();
    Resumed {
        leader: Pid(state.leader),
        ended: state.ended.map(|ended| (ExitStatus::from_raw(ended.status), ended.at.into())),
        lifeline: state.fds.lifeline.map(|fd| own(fd).into()),
        run_file: state.fds.run_file.map(own),
        journal: state.fds.journal.map(own),
        outputs: Outputs::new(state.fds.outputs.map(own)),
    }
}

/// Sets the handler that wakes the main loop at the death of a child. One that died before has to be looked for.
fn watch_children() {
    let mut ends = [-1; 2];
    // SAFETY: `pipe` fills the two integers of its argument. The handler calls only write(2), which is async-signal-safe
    // (signal-safety(7)).
    unsafe {
        pipe(ends.as_mut_ptr());
        for (end, place) in ends.into_iter().zip(&CHILD_EXIT_PIPE) {
            const F_SETFD: c_int = 2;
            const F_SETFL: c_int = 4;
            const FD_CLOEXEC: c_int = 1;
            fcntl(end, F_SETFD, FD_CLOEXEC);
            fcntl(end, F_SETFL, O_NONBLOCK);
            place.store(end, Ordering::Relaxed);
        }
        signal(SIGCHLD, on_child_exit as extern "C" fn(c_int) as usize);
    }
}

extern "C" fn on_child_exit(_: c_int) {
    // SAFETY: writes one byte of a constant to our own descriptor. A full pipe drops the byte, but is readable anyway.
    unsafe { write(CHILD_EXIT_PIPE[1].load(Ordering::Relaxed), b"x".as_ptr(), 1) };
}

/// Releases what belongs to the sidecar alone: its token, its listener, and its output, whose readers wait for the end.
pub(crate) fn release_fds(listener: bool) {
    // SAFETY: this process has one thread, which holds no reference to the environment. The environment is writable: the
    // kernel put it on the stack.
    unsafe { child_environment::erase_token(environment()) };
    if listener {
        receive_fds::close_listener();
    }
    if let Ok(null) = fs::File::options().write(true).open("/dev/null") {
        // SAFETY: dup2(2) replaces two descriptors that no other code in this process uses.
        unsafe {
            dup2(null.as_raw_fd(), 1);
            dup2(null.as_raw_fd(), 2);
        }
    }
}

/// The socket to the supervisor: our stdin.
pub(crate) fn control() -> ManuallyDrop<UnixStream> {
    // SAFETY: descriptor 0 stays open for as long as the process lives: `ManuallyDrop` never closes it.
    ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(0) })
}

/// Lets [`wait`] tell of the leader's forks, where the guard needs that.
pub(crate) fn watch_forks(leader: Pid) {
    platform::watch_leader(leader.0);
}

/// What ended a wait.
pub(crate) enum Wake {
    Supervisor,
    AppDied,
    LeaderForked,
    Child,
    Output,
    TimedOut,
}

/// Waits for a command from the supervisor, the death of a child, or the time-out. Without a supervisor (`connected` is
/// false), reads the sidecar's output meanwhile.
pub(crate) fn wait(
    connected: bool,
    outputs: &mut Outputs,
    log: &mut RunLog,
    timeout: Option<Duration>,
) -> Wake {
    // poll(2) ignores negative descriptors.
    let control = if connected { 0 } else { -1 };
    let exits = CHILD_EXIT_PIPE[0].load(Ordering::Relaxed);
    let output = |at: usize| if connected { -1 } else { outputs.descriptor(at) };
    let events = platform::events_descriptor();
    let mut fds =
        [control, exits, events, output(0), output(1)].map(|fd| PollFd { fd, events: POLLIN, revents: 0 });
    let timeout = timeout.map_or(-1, |timeout| c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX));
    // SAFETY: `fds` is an array of five, as passed. On EINTR no event is set, and the caller checks everything again.
    unsafe { poll(fds.as_mut_ptr(), 5, timeout) };
    let [supervisor, child, event, ..] = &fds;
    let output = fds[3..].iter().any(|output| output.revents != 0);
    if output {
        outputs.drain(log);
    }
    // The supervisor and its end first: children that die all the time must not keep its commands waiting.
    if supervisor.revents != 0 {
        Wake::Supervisor
    } else if event.revents & POLLIN != 0 {
        let KernelEvents { app_died, leader_forked } = platform::take_events();
        match (app_died, leader_forked) {
            (true, _) => Wake::AppDied,
            (_, true) => Wake::LeaderForked,
            _ => Wake::Output,
        }
    } else if child.revents != 0 {
        let mut bytes = [0; 64];
        // SAFETY: reads at most as many bytes as the array holds. The pipe is non-blocking.
        while unsafe { read(exits, bytes.as_mut_ptr(), bytes.len()) } > 0 {}
        Wake::Child
    } else if output {
        Wake::Output
    } else {
        Wake::TimedOut
    }
}

/// The process that has started this one, or that has adopted it.
pub(crate) fn parent() -> u32 {
    // SAFETY: getppid(2) has no preconditions.
    unsafe { getppid() }.cast_unsigned()
}

/// Lets a write beyond the limit for the size of files fail (setrlimit(2)). No child may be started afterwards: it would inherit that.
pub(crate) fn ignore_size_limit() {
    const SIGXFSZ: c_int = 25;
    // SAFETY: touches no memory.
    unsafe { signal(SIGXFSZ, SIG_IGN) };
}

/// The result of one attempt to reap.
pub(crate) enum Reaped {
    Child(Pid, ExitStatus),
    NoneDead,
    NoneLeft,
}

/// Reaps one dead child.
pub(crate) fn reap() -> Reaped {
    let mut status = 0;
    // SAFETY: the call writes the status to a local integer.
    match unsafe { waitpid(-1, &raw mut status, WNOHANG) } {
        0 => Reaped::NoneDead,
        pid if pid > 0 => Reaped::Child(Pid(pid), ExitStatus::from_raw(status)),
        _ => Reaped::NoneLeft,
    }
}

/// Makes writes to the pipe fail instead of waiting. Returns whether it worked.
pub(crate) fn set_nonblocking(pipe: &impl AsRawFd) -> bool {
    const F_SETFL: c_int = 4;
    // SAFETY: touches no memory.
    unsafe { fcntl(pipe.as_raw_fd(), F_SETFL, O_NONBLOCK) == 0 }
}

/// Sends a signal to a process group.
pub(crate) fn kill_group(group: Pid, signal: c_int) {
    // SAFETY: touches no memory.
    unsafe { libc_kill(-group.0, signal) };
}

/// Sends a signal to a child that is not reaped.
pub(crate) fn kill_child(child: Pid, signal: c_int) {
    // SAFETY: touches no memory.
    unsafe { libc_kill(child.0, signal) };
}

/// A descendant of the sidecar.
pub(crate) struct Descendant {
    pub(crate) pid: Pid,
    pub(crate) group: Pid,
    /// When it was forked. The kernel reuses process ids; id and start time together identify one process. 0 for a child of
    /// ours whose start time is not known: its process id is its own until we reap it.
    pub(crate) start_time: u64,
}

impl Descendant {
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.pid == other.pid && self.start_time == other.start_time
    }
}
