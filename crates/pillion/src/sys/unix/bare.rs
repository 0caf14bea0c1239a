//! A process group whose leader is our own child.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{super::platform, reap, spawn};
use crate::status::Exit;

/// A process group whose leader is our child. Dropping it kills what is left of it, and reaps the leader.
#[derive(Debug)]
pub(crate) struct Bare {
    leader: Pid,
    watch: platform::Watch,
    /// The other end of the leader's stdin.
    lifeline: Mutex<Option<ChildStdin>>,
}

impl Bare {
    /// Starts `command` as the leader of a group of its own, with pipes for its standard streams; the two that are to be
    /// read are in the child that is returned.
    pub(super) fn spawn(mut command: Command) -> io::Result<(Self, Child)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = spawn(&mut command)?;
        let leader = super::pid(&child);
        let watch = platform::Watch::new(leader).inspect_err(|_| {
            let _ = kill_process_group(leader, Signal::KILL);
            let _ = child.wait();
        })?;
        let lifeline = Mutex::new(child.stdin.take());
        Ok((Self { leader, watch, lifeline }, child))
    }

    /// The leader, whose number is the group's as well.
    pub(super) fn leader(&self) -> Pid {
        self.leader
    }

    /// Waits until the leader is dead, and leaves it unreaped. May be dropped and called again.
    pub(super) async fn exited(&self) -> Exit {
        loop {
            if let Some(exit) = self.peek() {
                return exit;
            }
            self.watch.changed().await;
        }
    }

    /// Asks every process of the group to end.
    pub(super) fn ask(&self) {
        *self.lifeline.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.signal(Signal::TERM);
        // A stopped process cannot handle SIGTERM before it is continued (signal(7)).
        self.signal(Signal::CONT);
    }

    /// Kills every process of the group.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits until nobody but the dead leader is left in the group. Where the system does not tell who is, the rest is
    /// killed instead. May be dropped and called again.
    pub(super) async fn emptied(&self) {
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

impl Drop for Bare {
    fn drop(&mut self) {
        self.kill();
        reap(self.leader, self.peek().is_some());
    }
}
