//! A process group whose leader is our own child: what remains if the guard cannot run.

use std::{
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Stdio},
    sync::{Mutex, PoisonError},
};

use rustix::{
    fs::OFlags,
    process::{Pid, Signal, kill_process, kill_process_group},
};

use super::{
    super::{Known, SpawnRequest, Used, platform},
    reap, spawn,
};
use crate::{
    spec::{StopRequest, StopScope},
    status::Exit,
};

/// A process group whose leader is our child. Drop kills its remaining processes and every marked process that has left the
/// group, and reaps the leader.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    leader: Pid,
    marker: String,
    stop: StopRequest,
    watch: platform::ExitWatch,
    /// The write end of the leader's stdin.
    lifeline: Mutex<Option<ChildStdin>>,
    asked: Mutex<Asked>,
}

/// Which processes were asked to end so far.
#[derive(Debug, Default)]
struct Asked {
    leader: bool,
    rest: bool,
}

impl ProcessGroup {
    /// Starts the program as the leader of a new group, with pipes for its standard streams. The returned child holds the
    /// read ends of its output.
    pub(super) fn spawn(request: SpawnRequest) -> io::Result<(Self, Child)> {
        let SpawnRequest { mut command, marker, stop, stdin, .. } = request;
        match stdin {
            // A background group of the terminal's session must not read it: SIGTTIN stops such a group (tty_ioctl(4), setpgid(2)).
            // The leader of another session may, and it leads a group as well.
            Some(stdin) => super::in_new_session(command.stdin(stdin)),
            None => drop(command.stdin(Stdio::piped()).process_group(0)),
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(&mut command)?;
        let leader = super::pid(&child);
        let watch = platform::ExitWatch::new(leader).inspect_err(|_| {
            let _ = kill_process_group(leader, Signal::KILL);
            let _ = child.wait();
        })?;
        let lifeline = Mutex::new(child.stdin.take());
        Ok((Self { leader, marker, stop, watch, lifeline, asked: Mutex::default() }, child))
    }

    /// The leader's process id, which is also the number of the group.
    pub(super) fn leader(&self) -> Pid {
        self.leader
    }

    /// Waits until the leader is dead. Does not reap it. May be dropped and called again.
    pub(super) async fn wait_exit(&self) -> Exit {
        loop {
            if let Some(exit) = self.peek() {
                return exit;
            }
            self.watch.changed().await;
        }
    }

    /// Asks the leader to end.
    pub(super) fn terminate_leader(&self) {
        let lifeline = self.lifeline.lock().unwrap_or_else(PoisonError::into_inner).take();
        let wrote = lifeline.zip(self.stop.stdin_bytes()).is_some_and(|(pipe, line)| write_now(pipe, &line));
        if !wrote {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if self.stop.scope == StopScope::Group {
                asked.rest = true;
                self.signal_stop();
            } else if !asked.leader {
                for signal in [super::signal(self.stop.signal), Signal::CONT] {
                    // The leader is not reaped, so its process id is still its own.
                    let _ = kill_process(self.leader, signal);
                }
            }
            asked.leader = true;
        }
    }

    /// Asks every process of the group that was not asked yet.
    pub(super) fn terminate_group(&self) {
        *self.lifeline.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut asked.rest, true) {
            return;
        }
        let leader_has_it = std::mem::replace(&mut asked.leader, true) && self.peek().is_none();
        let members = match platform::members(self.leader) {
            Ok(members) => members,
            Err(error) => {
                tracing::warn!(%error, "cannot list the process group");
                Vec::new()
            }
        };
        // A member that reads the output of another one ends when that output ends (`server | prettifier`).
        let asked_now = platform::without_readers(&members);
        if !leader_has_it && asked_now.len() == members.len() {
            // At once, so that no process escapes by a fork. A leader that got the signal is dead.
            self.signal_stop();
            return;
        }
        let leader = (!leader_has_it).then_some(self.leader);
        for member in asked_now.into_iter().chain(leader) {
            for signal in [super::signal(self.stop.signal), Signal::CONT] {
                platform::signal_member(member, self.leader, signal);
            }
        }
    }

    fn signal_stop(&self) {
        self.signal(super::signal(self.stop.signal));
        // A stopped process cannot handle a signal before it is continued (signal(7)).
        self.signal(Signal::CONT);
    }

    /// Kills every process of the group.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits until only the dead leader is left in the group. If the system cannot list the group, kills the rest instead.
    /// May be dropped and called again.
    pub(super) async fn wait_empty(&self) {
        loop {
            match platform::members(self.leader) {
                Ok(others) if others.is_empty() => return,
                Ok(others) => platform::members_changed(self.leader, others).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot list the process group; killing the rest of it");
                    self.kill();
                    return;
                }
            }
        }
    }

    /// The processor time of the leader, and of the processes that it has reaped: the kernel keeps it for a zombie. It does not keep the
    /// memory.
    pub(super) fn used(&self) -> Used {
        Used { cpu_time: platform::cpu_time(self.leader), peak_memory: None }
    }

    pub(super) fn core_dumped(&self) -> Option<bool> {
        super::core_dumped(self.leader)
    }

    fn peek(&self) -> Option<Exit> {
        super::peek(self.leader)
    }

    fn signal(&self, signal: Signal) {
        // The leader is not reaped, so the group's number is still ours. ESRCH, and on macOS EPERM, mean that the group has
        // no live process.
        let _ = kill_process_group(self.leader, signal);
    }
}

/// Writes to the pipe and closes it. Does not wait: a program that never reads its stdin must not block us.
fn write_now(mut pipe: ChildStdin, bytes: &[u8]) -> bool {
    rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK).is_ok() && pipe.write_all(bytes).is_ok()
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
        platform::sweep(&Known { marker: self.marker.clone(), session: None, remembered: Vec::new() });
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

    /// A shell that runs `script`, which must write a line.
    fn sh(script: &str) -> (ProcessGroup, impl Read + use<>) {
        // Each test has its own thread.
        let value = format!("{}, {:?}", std::process::id(), std::thread::current().id());
        let marker = format!("PILLION_TEST_GROUP={value}");
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("PILLION_TEST_GROUP", value);
        let (group, mut child) = ProcessGroup::spawn(SpawnRequest {
            command,
            grace: Duration::ZERO,
            marker,
            stop: StopRequest::default(),
            port: None,
            listener: None,
            watchdog: false,
            stdin: None,
            run_file: None,
            journal: None,
        })
        .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut String::new()).unwrap();
        (group, output)
    }

    #[tokio::test]
    async fn wait_exit_sees_the_leader_die_before_its_group_and_terminate_ends_the_rest() {
        let (group, mut output) = sh("sleep 1000 & echo up; exit 3");
        assert_eq!(group.wait_exit().await, Exit { code: Some(3), signal: None });
        assert_eq!(platform::members(group.leader()).unwrap().len(), 1);
        group.terminate_group();
        group.wait_empty().await;
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0);
    }

    #[tokio::test]
    async fn terminate_ends_stdin() {
        let (group, _output) = sh("trap '' TERM; echo up; read line; exit 4");
        group.terminate_leader();
        assert_eq!(group.wait_exit().await, Exit { code: Some(4), signal: None });
        group.wait_empty().await;
    }

    #[tokio::test]
    async fn terminate_asks_the_leader_first_and_each_process_once() {
        // Each writes a letter for each SIGTERM. The leader waits for the child, which must not be asked before.
        let child = "trap 'printf c; exit' TERM; echo up; while :; do sleep 1000 & wait; done";
        let leader = "trap 'printf l' TERM; sh -c \"$CHILD\" & while ! wait; do :; done";
        let (group, mut output) = sh(&format!("CHILD={child:?}; {leader}"));
        group.terminate_leader();
        let mut letter = [0];
        output.read_exact(&mut letter).unwrap();
        assert_eq!(&letter, b"l");
        group.terminate_group();
        output.read_exact(&mut letter).unwrap();
        assert_eq!(&letter, b"c");
        group.terminate_group();
        group.kill();
        let mut rest = Vec::new();
        output.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"", "each process was asked once");
    }

    #[tokio::test]
    async fn kill_ends_the_whole_group() {
        let (group, mut output) = sh("trap '' TERM; sleep 1000 & echo up; wait; wait; sleep 1000");
        group.kill();
        assert_eq!(group.wait_exit().await, Exit { code: None, signal: Some(9) });
        group.wait_empty().await;
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0);
    }

    #[tokio::test]
    async fn drop_kills_the_group_and_reaps_the_leader() {
        let (group, mut output) = sh("trap '' TERM; sleep 1000 & echo up; wait; sleep 1000");
        let leader = group.leader();
        drop(group);
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0, "no process holds the pipe");
        // A thread may still be about to reap the leader; either way the process must be gone afterwards.
        let _ = rustix::process::waitpid(Some(leader), rustix::process::WaitOptions::empty());
        assert!(rustix::process::test_kill_process(leader).is_err());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn drop_kills_marked_processes_that_left_the_group() {
        let (group, mut output) = sh("trap '' TERM; setsid sh -c 'echo up; exec sleep 1000' & wait");
        group.kill();
        group.wait_empty().await;
        drop(group);
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0, "no process holds the pipe");
    }
}
