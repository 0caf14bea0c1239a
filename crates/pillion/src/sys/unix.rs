//! A process group, and its pipes.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid, waitpid};
use tokio::net::unix::pipe::Receiver;

use super::{Spawned, platform};
use crate::status::Exit;

/// A process group whose leader is our child. Dropping it kills what is left of it, and reaps the leader.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Pid,
    watch: platform::Watch,
}

impl Group {
    /// Starts `command` as the leader of a group of its own, with pipes for its standard streams.
    ///
    /// Returns when the program was executed or could not be, which takes as long as the file system needs to find it.
    /// Needs the context of a tokio runtime with I/O.
    pub(crate) fn spawn(mut command: Command) -> io::Result<Spawned> {
        // macOS cannot create a pipe that is closed on exec from the start, so two spawns at once could leak each
        // other's lifelines: one at a time.
        static SPAWNING: Mutex<()> = Mutex::new(());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        #[expect(clippy::disallowed_methods, reason = "this is the one place that owns what it spawns")]
        let mut child = {
            let _one =
                (!cfg!(target_os = "linux")).then(|| SPAWNING.lock().unwrap_or_else(PoisonError::into_inner));
            command.spawn()?
        };
        let missing = || io::Error::other("a standard stream was not piped");
        let leader = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(missing)?;
        let watch = platform::Watch::new(leader).inspect_err(|_| {
            let _ = kill_process_group(leader, Signal::KILL);
            let _ = child.wait();
        })?;
        // From here on an error drops the group, and so leaves nothing running.
        let group = Self { leader, watch };
        let lifeline = child.stdin.take().ok_or_else(missing)?;
        let stdout = Pipe::new(child.stdout.take().ok_or_else(missing)?.into())?;
        let stderr = Pipe::new(child.stderr.take().ok_or_else(missing)?.into())?;
        Ok(Spawned { group, lifeline, stdout, stderr })
    }

    /// The leader's process id, which is the group's as well.
    pub(crate) fn pid(&self) -> u32 {
        self.leader.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until the leader is dead, and leaves it unreaped. May be dropped and called again.
    pub(crate) async fn exited(&self) -> Exit {
        loop {
            if let Some(exit) = self.peek() {
                return exit;
            }
            self.watch.changed().await;
        }
    }

    /// Asks every process of the group to end.
    pub(crate) fn ask(&self) {
        self.signal(Signal::TERM);
        // A stopped process cannot handle SIGTERM before it is continued (signal(7)).
        self.signal(Signal::CONT);
    }

    /// Kills every process of the group.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits until nobody but the dead leader is left in the group. Where the system does not tell who is, the rest is
    /// killed instead. May be dropped and called again.
    pub(crate) async fn emptied(&self) {
        loop {
            match platform::members(self.leader) {
                Ok(others) if others.is_empty() => return,
                Ok(others) => platform::any_of_these_changed(self.leader, others).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot list the process group; killing what is left of it");
                    self.kill();
                    return;
                }
            }
        }
    }

    fn peek(&self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.leader), options) {
            Ok(status) => {
                status.map(|status| Exit { code: status.exit_status(), signal: status.terminating_signal() })
            }
            // ECHILD: this program ignores SIGCHLD or waits for any child, so that the status is lost (wait(2)).
            Err(_) => Some(Exit { code: None, signal: None }),
        }
    }

    fn signal(&self, signal: Signal) {
        // The unreaped leader keeps the group's number ours. ESRCH and EPERM (macOS, where only zombies are left)
        // mean that nobody is there to be signalled.
        let _ = kill_process_group(self.leader, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        let leader = self.leader;
        let reap = move || {
            let _ = waitpid(Some(leader), WaitOptions::empty());
        };
        if self.peek().is_some() {
            reap();
        } else {
            // SIGKILL is under way, but a process in uninterruptible sleep can make it wait: not on this thread.
            std::thread::spawn(reap);
        }
    }
}

/// The reading end of a pipe.
#[derive(Debug)]
pub(crate) struct Pipe(Receiver);

impl Pipe {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        Receiver::from_owned_fd(fd).map(Self)
    }

    /// Reads what is there, and waits where nothing is. 0 is the end. Nothing is lost when it is dropped.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.0.readable().await?;
            match self.0.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    /// Reads what is there without waiting: `None` where nothing is. It asks the kernel and not the runtime, whose
    /// knowledge may lag behind a child that wrote and died.
    pub(crate) async fn read_now(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match rustix::io::read(&self.0, buffer) {
            Err(rustix::io::Errno::AGAIN) => None,
            result => Some(result.map_err(Into::into)),
        }
    }
}
