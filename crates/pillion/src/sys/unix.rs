//! The processes of a sidecar: under a guard, or, if the guard cannot run, as a bare process group.

#[cfg(any(target_os = "macos", test))]
mod guard_file;
mod guarded;
mod output_pipe;
mod own_guard;
mod own_session;
mod process_group;

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command},
    sync::{PoisonError, RwLock},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};

use super::{SpawnRequest, Spawned};
use crate::{spec::StopSignal, status::Exit};
#[cfg(target_os = "macos")]
pub(super) use guard_file::GuardFile;
use guarded::Guarded;
pub(crate) use output_pipe::OutputPipe;
pub(crate) use own_guard::run_guard;
pub(crate) use own_session::{login_shell, print_in_own_session};
use process_group::ProcessGroup;

/// A sidecar's processes. Drop ends all of them: a guard terminates them and waits for the grace period; a bare group is
/// killed at once, including marked processes that left it.
#[derive(Debug)]
pub(crate) enum Group {
    Guarded(Guarded),
    ProcessGroup(ProcessGroup),
}

impl Group {
    /// Starts the program in a new process group, with pipes for its standard streams.
    ///
    /// Blocks until execve(2) has succeeded or failed, which may take as long as the file system needs to find the program.
    ///
    /// # Panics
    /// Outside the context of a tokio runtime with I/O.
    pub(crate) fn spawn(request: SpawnRequest) -> io::Result<Spawned> {
        let (group, [stdout, stderr], unguarded, limited) = match Guarded::spawn(&request)? {
            Ok((group, outputs, limited)) => (Self::Guarded(group), outputs, None, limited),
            Err(why) => {
                let (group, mut child) = ProcessGroup::spawn(request)?;
                let missing = || io::Error::other("a standard stream was not piped");
                let stdout = child.stdout.take().ok_or_else(missing)?.into();
                let stderr = child.stderr.take().ok_or_else(missing)?.into();
                (Self::ProcessGroup(group), [stdout, stderr], Some(why), None)
            }
        };
        // From here on an error drops the group, which ends its processes.
        let (stdout, stderr) = (OutputPipe::new(stdout)?, OutputPipe::new(stderr)?);
        Ok(Spawned { group, stdout, stderr, unguarded, limited })
    }

    /// The leader's process id.
    pub(crate) fn pid(&self) -> u32 {
        let leader = match self {
            Self::Guarded(group) => group.leader(),
            Self::ProcessGroup(group) => group.leader(),
        };
        leader.as_raw_nonzero().get().unsigned_abs()
    }

    /// Finds the processes of this run, and which of them serves a port.
    #[cfg(target_os = "linux")]
    pub(crate) fn processes(&self) -> super::RunProcesses {
        match self {
            Self::Guarded(group) => super::RunProcesses::new(group.guard(), group.leader()),
            Self::ProcessGroup(group) => super::RunProcesses::new(group.leader(), group.leader()),
        }
    }

    /// The live processes besides the leader, at most five, each by name and process id.
    pub(crate) fn others(&self) -> Vec<String> {
        match self {
            // Nothing is to be looked for.
            Self::Guarded(group) if group.none_left() => Vec::new(),
            _ => self.processes().others(),
        }
    }

    /// Finds nothing: only Linux tells which process serves a port.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "the signature is the same on every system")]
    pub(crate) fn processes(&self) -> super::RunProcesses {
        super::RunProcesses
    }

    /// The processes of this run, to be measured.
    pub(crate) fn tree(&self) -> super::ProcessTree {
        #[cfg(target_os = "linux")]
        return self.processes();
        #[cfg(not(target_os = "linux"))]
        match self {
            Self::Guarded(group) => {
                super::ProcessTree::of_guard(group.guard(), group.leader(), group.known())
            }
            Self::ProcessGroup(group) => super::ProcessTree::of_group(group.leader()),
        }
    }

    /// Waits until the leader is dead. May be dropped and called again.
    pub(crate) async fn wait_exit(&self) -> Exit {
        match self {
            Self::Guarded(group) => group.wait_exit().await,
            Self::ProcessGroup(group) => group.wait_exit().await,
        }
    }

    /// Asks the leader to end: writes the declared line to its stdin, or else sends the declared signal; ends its stdin. With
    /// [`StopScope::Group`](crate::StopScope::Group) the signal goes to the whole group.
    pub(crate) fn terminate_leader(&self) {
        match self {
            Self::Guarded(group) => group.terminate_leader(),
            Self::ProcessGroup(group) => group.terminate_leader(),
        }
    }

    /// Sends the declared signal to every process that did not get it, and ends the leader's stdin.
    pub(crate) fn terminate_group(&self) {
        match self {
            Self::Guarded(group) => group.terminate_group(),
            Self::ProcessGroup(group) => group.terminate_group(),
        }
    }

    /// Tells the guard the HTTP request by which it asks the leader after the app's death.
    pub(crate) fn set_http_stop(&self, request: &[u8]) {
        if let Self::Guarded(group) = self {
            group.set_http_stop(request);
        }
    }

    /// Tells the guard that the leader was asked by that request.
    pub(crate) fn http_stop_sent(&self) {
        if let Self::Guarded(group) = self {
            group.http_stop_sent();
        }
    }

    /// Kills every process.
    pub(crate) fn kill(&self) {
        match self {
            Self::Guarded(group) => group.kill(),
            Self::ProcessGroup(group) => group.kill(),
        }
    }

    /// Kills the guard, which may be unable to run (stopped by a debugger, for example), and then every process that is known
    /// to belong to the sidecar. For a group that a kill did not end.
    pub(crate) fn sweep(&self) {
        match self {
            Self::Guarded(group) => group.kill_guard(),
            Self::ProcessGroup(group) => group.kill(),
        }
    }

    /// What the processes have used. Call it when none is left.
    pub(crate) fn used(&self) -> super::Used {
        match self {
            Self::Guarded(group) => group.used(),
            Self::ProcessGroup(group) => group.used(),
        }
    }

    /// Whether the leader left a core dump, once it has ended.
    pub(crate) fn core_dumped(&self) -> Option<bool> {
        match self {
            Self::Guarded(group) => group.core_dumped(),
            Self::ProcessGroup(group) => group.core_dumped(),
        }
    }

    /// Waits until no process but the dead leader is left. May be dropped and called again.
    pub(crate) async fn wait_empty(&self) {
        match self {
            Self::Guarded(group) => group.wait_empty().await,
            Self::ProcessGroup(group) => group.wait_empty().await,
        }
    }
}

/// Held from the fork to the exec of each spawn.
static SPAWNING: RwLock<()> = RwLock::new(());

/// Waits until the spawns of this process that have begun have executed their programs. Until then their children hold a copy of
/// each descriptor, also of those that this process has closed meanwhile (fork(2)). Starts with a light guard are not among them.
pub(crate) fn finish_spawns() {
    drop(SPAWNING.write().unwrap_or_else(PoisonError::into_inner));
}

/// The only place on Unix that starts processes, besides `linux/light_guard`. The caller owns the child.
fn spawn(command: &mut Command) -> io::Result<Child> {
    #[expect(clippy::disallowed_methods, reason = "the only place on Unix that starts processes")]
    while_spawning(|| command.spawn())
}

/// Starts a process.
fn while_spawning<T>(start: impl FnOnce() -> T) -> T {
    let linux = cfg!(target_os = "linux");
    let _shared = linux.then(|| SPAWNING.read().unwrap_or_else(PoisonError::into_inner));
    // macOS cannot create a pipe with close-on-exec atomically, so that concurrent spawns could leak each other's lifelines:
    // there one spawn at a time is permitted.
    let _exclusive = (!linux).then(|| SPAWNING.write().unwrap_or_else(PoisonError::into_inner));
    start()
}

/// Does work that opens descriptors which a child of another thread must not get, where the system cannot open them with close-on-exec
/// atomically: while no spawn of this process is between fork and exec. Spawns by other code of this program are not held back.
fn without_spawns<T>(work: impl FnOnce() -> T) -> T {
    let atomic = cfg!(target_os = "linux");
    let _none = (!atomic).then(|| SPAWNING.write().unwrap_or_else(PoisonError::into_inner));
    work()
}

/// Lets the command's process lead a session of its own, which has no controlling terminal, and so a process group of its own.
#[expect(unsafe_code, reason = "std has no stable call for a new session")]
pub(super) fn in_new_session(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec. It makes one system call, setsid(2), which is async-signal-safe
    // (signal-safety(7)), and allocates nothing.
    unsafe { command.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from)) };
}

fn signal(stop: StopSignal) -> Signal {
    match stop {
        StopSignal::Term => Signal::TERM,
        StopSignal::Int => Signal::INT,
        StopSignal::Quit => Signal::QUIT,
        StopSignal::Hup => Signal::HUP,
        StopSignal::Usr1 => Signal::USR1,
        StopSignal::Usr2 => Signal::USR2,
    }
}

#[expect(clippy::unwrap_used, reason = "a process id is positive, and fits")]
fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed()).unwrap()
}

/// How a child ended, if it has. Does not reap it.
fn peek(child: Pid) -> Option<Exit> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(child), options) {
        Ok(status) => {
            status.map(|status| Exit { code: status.exit_status(), signal: status.terminating_signal() })
        }
        // ECHILD: the app ignores SIGCHLD or waits for any child, so that the status is lost (wait(2)).
        Err(_) => Some(Exit { code: None, signal: None }),
    }
}

/// Whether a dead child that is not reaped left a core dump.
fn core_dumped(child: Pid) -> Option<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(child), options).ok().flatten().map(|status| status.dumped())
}

/// Space for any process id. It is replaced by that of the sidecar's process, once there is one.
pub(in crate::sys) const PID_PLACEHOLDER: &str = "00000000000000000000";

/// The variables by which a sidecar finds its listener (`sd_listen_fds(3)`), and learns that the watchdog is meant for it.
pub(in crate::sys) fn own_variables(request: &SpawnRequest) -> Vec<(&'static str, &'static str)> {
    let listener = [("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "http"), ("LISTEN_PID", PID_PLACEHOLDER)];
    let listener = request.listener.as_ref().map(|_| listener);
    let watchdog = request.watchdog.then_some(("WATCHDOG_PID", PID_PLACEHOLDER));
    listener.into_iter().flatten().chain(watchdog).collect()
}

/// Reaps a child that is dead or about to die.
pub(in crate::sys) fn reap(child: Pid, dead: bool) {
    let reap = move || {
        let _ = waitpid(Some(child), WaitOptions::empty());
    };
    if dead {
        reap();
    } else if !matches!(waitpid(Some(child), WaitOptions::NOHANG), Ok(None)) {
        // It was dead already.
    } else {
        // Uninterruptible sleep can delay even SIGKILL: do not block this thread.
        // Without a thread the zombie stays until this process ends.
        let _ = std::thread::Builder::new().spawn(reap);
    }
}

/// A request without anything special, for tests.
#[cfg(test)]
pub(in crate::sys) fn test_request(command: Command) -> SpawnRequest {
    SpawnRequest {
        command,
        grace: std::time::Duration::from_secs(3600),
        marker: "A=B".to_owned(),
        stop: crate::spec::StopRequest::default(),
        port: None,
        listener: None,
        watchdog: false,
        stdin: None,
        run_file: None,
        journal: None,
    }
}
