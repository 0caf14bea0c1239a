//! The processes of a sidecar: under a guard, or, if the guard cannot run, as a bare process group.

mod guarded;
mod output_pipe;
mod process_group;

use std::{
    io,
    process::{Child, Command},
    sync::{Mutex, PoisonError},
};

use rustix::process::{Pid, WaitOptions, waitpid};

use super::{SpawnRequest, Spawned};
use crate::status::Exit;
use guarded::Guarded;
pub(crate) use output_pipe::OutputPipe;
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
        let (group, mut child, unguarded) = match Guarded::spawn(&request)? {
            Ok((group, child)) => (Self::Guarded(group), child, None),
            Err(why) => {
                let (group, child) = ProcessGroup::spawn(request)?;
                (Self::ProcessGroup(group), child, Some(why))
            }
        };
        // From here on an error drops the group, which ends its processes.
        let missing = || io::Error::other("a standard stream was not piped");
        let stdout = OutputPipe::new(child.stdout.take().ok_or_else(missing)?.into())?;
        let stderr = OutputPipe::new(child.stderr.take().ok_or_else(missing)?.into())?;
        Ok(Spawned { group, stdout, stderr, unguarded })
    }

    /// The leader's process id.
    pub(crate) fn pid(&self) -> u32 {
        let leader = match self {
            Self::Guarded(group) => group.leader(),
            Self::ProcessGroup(group) => group.leader(),
        };
        leader.as_raw_nonzero().get().unsigned_abs()
    }

    /// What tells which process serves a port.
    #[cfg(target_os = "linux")]
    pub(crate) fn processes(&self) -> super::RunProcesses {
        match self {
            Self::Guarded(group) => super::RunProcesses::new(group.guard(), group.leader()),
            Self::ProcessGroup(group) => super::RunProcesses::new(group.leader(), group.leader()),
        }
    }

    /// As on Linux, where it tells something.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "the signature is the same on every system")]
    pub(crate) fn processes(&self) -> super::RunProcesses {
        super::RunProcesses
    }

    /// Waits until the leader is dead. May be dropped and called again.
    pub(crate) async fn wait_exit(&self) -> Exit {
        match self {
            Self::Guarded(group) => group.wait_exit().await,
            Self::ProcessGroup(group) => group.wait_exit().await,
        }
    }

    /// Asks every process to end: ends the leader's stdin and sends SIGTERM.
    pub(crate) fn terminate(&self) {
        match self {
            Self::Guarded(group) => group.terminate(),
            Self::ProcessGroup(group) => group.terminate(),
        }
    }

    /// Kills every process.
    pub(crate) fn kill(&self) {
        match self {
            Self::Guarded(group) => group.kill(),
            Self::ProcessGroup(group) => group.kill(),
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

/// The only place on Unix that starts processes. The caller owns the child.
fn spawn(command: &mut Command) -> io::Result<Child> {
    // macOS cannot create a pipe with close-on-exec atomically, so that concurrent spawns could leak each other's lifelines.
    // The lock permits one spawn at a time.
    static SPAWNING: Mutex<()> = Mutex::new(());
    let _guard =
        (!cfg!(target_os = "linux")).then(|| SPAWNING.lock().unwrap_or_else(PoisonError::into_inner));
    #[expect(clippy::disallowed_methods, reason = "the only place on Unix that starts processes")]
    command.spawn()
}

#[expect(clippy::unwrap_used, reason = "a process id is positive, and fits")]
fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed()).unwrap()
}

/// Reaps a child that is dead or about to die.
fn reap(child: Pid, dead: bool) {
    let reap = move || {
        let _ = waitpid(Some(child), WaitOptions::empty());
    };
    if dead {
        reap();
    } else {
        // Uninterruptible sleep can delay even SIGKILL: do not block this thread.
        std::thread::spawn(reap);
    }
}
