//! A process group whose leader is our own child.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Stdio},
    sync::{Mutex, PoisonError},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{
    super::{SpawnRequest, platform},
    reap, spawn,
};
use crate::status::Exit;

/// A process group whose leader is our child. Dropping it kills what is left of it, and who has left it but carries its
/// mark, and reaps the leader.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    leader: Pid,
    mark: String,
    watch: platform::Watch,
    /// The other end of the leader's stdin.
    lifeline: Mutex<Option<ChildStdin>>,
}

impl ProcessGroup {
    /// Starts the program as the leader of a group of its own, with pipes for its standard streams; the two that are to be
    /// read are in the child that is returned.
    pub(super) fn spawn(request: SpawnRequest) -> io::Result<(Self, Child)> {
        let SpawnRequest { mut command, mark, .. } = request;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = spawn(&mut command)?;
        let leader = super::pid(&child);
        let watch = platform::Watch::new(leader).inspect_err(|_| {
            let _ = kill_process_group(leader, Signal::KILL);
            let _ = child.wait();
        })?;
        let lifeline = Mutex::new(child.stdin.take());
        Ok((Self { leader, mark, watch, lifeline }, child))
    }

    /// The leader, whose number is the group's as well.
    pub(super) fn leader(&self) -> Pid {
        self.leader
    }

    /// Waits until the leader is dead, and leaves it unreaped. May be dropped and called again.
    pub(super) async fn wait_exit(&self) -> Exit {
        loop {
            if let Some(exit) = self.peek() {
                return exit;
            }
            self.watch.changed().await;
        }
    }

    /// Asks every process of the group to end.
    pub(super) fn terminate(&self) {
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
    pub(super) async fn wait_empty(&self) {
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

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
        platform::kill_marked(&self.mark);
        reap(self.leader, self.peek().is_some());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Read},
        process::Command,
        time::Duration,
    };

    use super::*;

    /// A shell that runs `script`, once it has written a line.
    fn sh(script: &str) -> (ProcessGroup, impl Read) {
        // Each test has a thread of its own.
        let value = format!("{}, {:?}", std::process::id(), std::thread::current().id());
        let mark = format!("PILLION_TEST_BARE={value}");
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("PILLION_TEST_BARE", value);
        let (group, mut child) =
            ProcessGroup::spawn(SpawnRequest { command, grace: Duration::ZERO, mark, listener: None })
                .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut String::new()).unwrap();
        (group, output)
    }

    #[tokio::test]
    async fn the_leaders_end_is_seen_while_its_group_lives_on_and_the_rest_goes_when_asked() {
        let (group, mut output) = sh("sleep 1000 & echo up; exit 3");
        assert_eq!(group.wait_exit().await, Exit { code: Some(3), signal: None });
        assert_eq!(platform::members(group.leader()).unwrap().len(), 1);
        group.terminate();
        group.wait_empty().await;
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0);
    }

    #[tokio::test]
    async fn asking_ends_stdin_as_well() {
        let (group, _output) = sh("trap '' TERM; echo up; read line; exit 4");
        group.terminate();
        assert_eq!(group.wait_exit().await, Exit { code: Some(4), signal: None });
        group.wait_empty().await;
    }

    #[tokio::test]
    async fn killing_spares_nobody() {
        let (group, mut output) = sh("trap '' TERM; sleep 1000 & echo up; wait; wait; sleep 1000");
        group.kill();
        assert_eq!(group.wait_exit().await, Exit { code: None, signal: Some(9) });
        group.wait_empty().await;
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0);
    }

    #[tokio::test]
    async fn dropping_kills_and_reaps() {
        let (group, mut output) = sh("trap '' TERM; sleep 1000 & echo up; wait; sleep 1000");
        let leader = group.leader();
        drop(group);
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0, "nobody holds the pipe any more");
        // The leader is reaped by a thread of its own; by whom does not matter, only that it can be.
        let _ = rustix::process::waitpid(Some(leader), rustix::process::WaitOptions::empty());
        assert!(rustix::process::test_kill_process(leader).is_err());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn dropping_kills_who_has_left_the_group() {
        let (group, mut output) = sh("trap '' TERM; setsid sh -c 'echo up; exec sleep 1000' & wait");
        group.kill();
        group.wait_empty().await;
        drop(group);
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0, "nobody holds the pipe any more");
    }
}
