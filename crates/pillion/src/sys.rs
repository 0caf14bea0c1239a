//! The operating system behind one interface: spawn a process group, wait for its leader, terminate it, kill it, wait until it
//! is empty, and read its output. This module holds all of the crate's `unsafe` code and decides no policy.
//!
//! | | Linux | macOS | Windows |
//! | --- | --- | --- | --- |
//! | container of the processes | a guard process, child subreaper | a guard process | job object |
//! | the leader's end | the guard reports it | the guard reports it | process handle |
//! | terminate the leader | line on stdin, end of stdin, signal | the same | line on stdin, end of stdin |
//! | terminate the group | signal to each process that did not get it | the same, to all that the guard finds | end of stdin |
//! | kill | SIGKILL to all, until none is left | the same | `TerminateJobObject` |
//! | empty | the guard reports that it has no child | the guard finds no process, polled every 20 ms | the job's process count, polled every 10 ms |
//! | this program is killed | the guard terminates, waits, kills | the same | the system kills the job; a guard, if this program can be one, holds it for the grace period |
//!
//! If the guard cannot run, the sidecar is a bare process group: only processes of the group are terminated, killed and
//! waited for, by pidfds and `/proc` or by SIGCHLD and `proc_listpgrppids`. The dead leader stays a zombie until its group is
//! empty, so that the kernel does not reuse the group's number. If this program is killed, the sidecar's stdin ends; nothing
//! else stops it.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(unix, not(target_os = "linux")))]
mod macos;
pub(crate) mod own_program;
mod tree_usage;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
mod work_threads;

#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(target_os = "linux")]
pub(crate) use linux::credentials::{Datagram, receive as receive_datagram};
#[cfg(target_os = "linux")]
pub(crate) use linux::port_range::seldom_given_ports;
#[cfg(target_os = "linux")]
pub(crate) use linux::run_processes::{RunProcesses, Workers};
#[cfg(target_os = "linux")]
pub(crate) use linux::shared_memory::{Region, shared_memory};
#[cfg(all(unix, not(target_os = "linux")))]
use macos as platform;
pub(crate) use platform::port_owners::{Cleanup, cleanup_on, listener_on};
#[cfg(unix)]
pub(crate) use unix::{Group, OutputPipe, finish_spawns, login_shell, print_in_own_session, run_guard};
#[cfg(windows)]
use windows as platform;
#[cfg(windows)]
pub(crate) use windows::port_owners::is_listened_on;
#[cfg(windows)]
pub(crate) use windows::{Group, OutputPipe, run_guard};

#[cfg(target_os = "linux")]
pub(crate) use linux::run_processes::RunProcesses as ProcessTree;
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) use macos::tree_usage::ProcessTree;
pub(crate) use tree_usage::TreeUsage;
#[cfg(windows)]
pub(crate) use windows::tree_usage::ProcessTree;

/// A directory of the user for files that live for as long as this process, where the system deletes old files of the directory for
/// temporary files. Linux has the runtime directory (`XDG_RUNTIME_DIR`) for them.
#[cfg(unix)]
pub(crate) fn user_cache_directory() -> Option<std::path::PathBuf> {
    #[cfg(target_os = "macos")]
    return macos::user_cache_directory();
    #[cfg(not(target_os = "macos"))]
    None
}

/// Runs blocking work on a thread beside the runtime, in the context of the present runtime. It begins as soon as possible, and not when the
/// future is polled. `None` if the system allows no thread: tokio's pool would panic then. If the future is dropped, the work goes on, and its
/// result is dropped.
///
/// # Panics
/// Outside the context of a tokio runtime.
pub(crate) fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Option<T>> + Send + 'static {
    let (sender, result) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let run = move || {
        let _context = runtime.enter();
        drop(sender.send(work()));
    };
    // The sender is dropped with work that could not be started.
    work_threads::WORK_THREADS.add(Box::new(run));
    async { result.await.ok() }
}

/// What to start.
#[derive(Debug)]
#[cfg_attr(
    windows,
    expect(
        dead_code,
        reason = "a job object needs no marker, no signal, no listener, no watchdog, no file and no journal"
    )
)]
pub(crate) struct SpawnRequest {
    /// The program, its arguments, environment and directory. `sys` sets its standard streams.
    pub(crate) command: std::process::Command,
    /// How long the processes have to end by themselves after this program's death.
    pub(crate) grace: std::time::Duration,
    /// The process marker: an entry of its environment, `NAME=value`, that no other run has.
    pub(crate) marker: String,
    /// How the processes are asked to end.
    pub(crate) stop: crate::spec::StopRequest,
    /// The fixed port, for which a later start waits while a guard stops the sidecar.
    #[cfg_attr(unix, expect(dead_code, reason = "the guard is found by the process that has the port"))]
    pub(crate) port: Option<std::num::NonZeroU16>,
    /// The listener to hand over to the program. Only a guard can hand it over.
    pub(crate) listener: Option<crate::listener::Listener>,
    /// Whether `WATCHDOG_PID` names the leader, for `sd_watchdog_enabled(3)`. Only a guard can set it: the variable needs the process id
    /// before the program is executed. Without it, every process that finds `WATCHDOG_USEC` takes that for its own.
    pub(crate) watchdog: bool,
    /// What the program gets as its stdin instead of the lifeline.
    pub(crate) stdin: Option<StdinHandle>,
    /// The file in which a guard notes how the run ends, if this program dies before it.
    pub(crate) run_file: Option<std::fs::File>,
    /// The memory from which a guard completes the log file of the run, if this program dies before it, and the place of the run there.
    pub(crate) journal: Option<(std::fs::File, usize)>,
}

/// The largest resident set of this process until now, in bytes (`VmHWM`, `proc_pid_status(5)`), where the system tells. The process must
/// not have been reaped.
pub(crate) fn peak_memory(pid: u32) -> Option<u64> {
    #[cfg(target_os = "linux")]
    return platform::peak_memory(pid);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pid;
        None
    }
}

/// What the processes of a run had used when all of them had ended, as far as the system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Used {
    /// The processor time of all of them, user and system.
    pub(crate) cpu_time: Option<std::time::Duration>,
    /// In bytes. Unix: the largest resident set of one of them, unless the light guard cannot tell it from the app's. Windows: the
    /// committed memory of all of them together.
    pub(crate) peak_memory: Option<u64>,
}

#[cfg(unix)]
pub(crate) type StdinHandle = std::os::fd::OwnedFd;
#[cfg(windows)]
pub(crate) type StdinHandle = std::os::windows::io::OwnedHandle;

/// A duplicate of this process's stdin.
pub(crate) fn own_stdin() -> std::io::Result<StdinHandle> {
    #[cfg(unix)]
    return std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned();
    #[cfg(windows)]
    return std::os::windows::io::AsHandle::as_handle(&std::io::stdin()).try_clone_to_owned();
}

/// A stdin that is at its end.
pub(crate) fn empty_stdin() -> std::io::Result<StdinHandle> {
    let file = if cfg!(windows) { "NUL" } else { "/dev/null" };
    std::fs::File::open(file).map(StdinHandle::from)
}

/// Does nothing: a socket is inherited only if that is asked for.
#[cfg(windows)]
pub(crate) fn finish_spawns() {}

/// Keeps a listener from starts of sidecars that [`finish_spawns`] does not wait for: their processes get no copy of it.
pub(crate) fn keep_from_starts(listener: std::net::TcpListener) -> std::net::TcpListener {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    let listener = platform::light_guard::keep_from_starts(listener.into()).into();
    listener
}

/// Loads the guard's program into memory, which a start does otherwise, on the thread that then does the next blocking work. Only on Linux:
/// elsewhere it becomes a file, which a process that starts no sidecar would leave behind.
pub(crate) fn prepare_guard() {
    #[cfg(target_os = "linux")]
    if !pillion_guard::PROGRAM.is_empty() {
        work_threads::WORK_THREADS.prepare(Box::new(|| {
            let _ = platform::PLACES[0](pillion_guard::PROGRAM);
            #[cfg(target_arch = "x86_64")]
            let _ = platform::light_guard::prepare();
        }));
    }
}

/// What a short command has printed.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) enum Printed {
    /// Its output is complete.
    Complete(Vec<u8>),
    /// It ended before its output was complete.
    Exited(crate::status::Exit),
    /// It was killed, because its time was over.
    TimedOut,
    /// It was killed, because it printed more than the limit.
    TooMuch,
}

/// What is known of processes that are to be killed although no guard or group holds them any more.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Known {
    /// The process marker: an entry of their environment.
    pub(crate) marker: String,
    /// Their session, whose number must not be reusable.
    pub(crate) session: Option<rustix::process::Pid>,
    /// Process ids and start times; on macOS unique ids instead of start times.
    pub(crate) remembered: Vec<(i32, u64)>,
}

/// A group that was just spawned, with the read ends of its leader's output.
pub(crate) struct Spawned {
    pub(crate) group: Group,
    pub(crate) stdout: OutputPipe,
    pub(crate) stderr: OutputPipe,
    /// Why no guard watches the group, if none does. The group then survives this program's sudden death.
    pub(crate) unguarded: Option<String>,
    /// Why the guard cannot do all of its work, if it cannot.
    pub(crate) limited: Option<String>,
}

/// Which processes listen on a port of 127.0.0.1.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux tells"))]
pub(crate) enum PortOwner {
    /// Processes of the run alone.
    Run,
    /// A process that is not of the run: its name and process id, if the system shows them.
    Other(Option<String>),
    /// The system does not tell.
    Unknown,
}

/// A part of memory that outlives this program in its guards.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) enum Region {}

#[cfg(not(target_os = "linux"))]
impl Region {
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        match *self {}
    }

    pub(crate) fn publish(&mut self, _at: usize, _value: u64) {
        match *self {}
    }
}

/// Only Linux has such memory that a guard can read without a name for it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn shared_memory(_sizes: &[usize]) -> std::io::Result<(std::fs::File, Vec<Region>)> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// What the processes of a run do, as far as the system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Activity {
    /// The processor time that they have used so far, user and system.
    pub(crate) cpu_time: Option<std::time::Duration>,
    /// Whether one of them has read a client's request and has not yet answered it in full.
    pub(crate) has_request: bool,
    /// How long ago one of them last sent something to a client whose connection is open.
    pub(crate) last_sent: Option<std::time::Duration>,
}

/// Ports that the system hardly ever gives to a program that asks for any: only Linux has such.
#[cfg(not(target_os = "linux"))]
pub(crate) fn seldom_given_ports() -> Vec<u16> {
    Vec::new()
}

/// The processes of a run, on systems that do not tell which of them serves a port.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunProcesses;

#[cfg(not(target_os = "linux"))]
impl RunProcesses {
    #[expect(clippy::unused_self, reason = "the signature is the same on every system")]
    pub(crate) fn others(self) -> Vec<String> {
        Vec::new()
    }

    #[expect(clippy::unused_self, reason = "the signature is the same on every system")]
    pub(crate) fn listening(self) -> Vec<std::net::SocketAddr> {
        Vec::new()
    }

    #[expect(clippy::unused_self, reason = "the signature is the same on every system")]
    pub(crate) fn port_owner(self, _port: std::num::NonZeroU16) -> PortOwner {
        PortOwner::Unknown
    }

    #[expect(clippy::unused_self, reason = "the signature is the same on every system")]
    pub(crate) fn activity(self, _port: Option<std::num::NonZeroU16>, _probes: &[u16]) -> Activity {
        Activity::default()
    }

    #[expect(clippy::unused_self, reason = "the signature is the same on every system")]
    pub(crate) fn workers(self, _port: std::num::NonZeroU16) -> Workers {
        Workers
    }
}

/// Has no processes: only Linux tells which processes serve a port.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct Workers;

#[cfg(not(target_os = "linux"))]
impl Workers {
    pub(crate) async fn ended(&self) -> u32 {
        std::future::pending().await
    }
}
