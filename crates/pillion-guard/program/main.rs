//! The guard of one sidecar.
//!
//! ```text
//! pillion-guard GRACE_MS LISTENER PROGRAM ARGUMENT…
//! ```
//!
//! Stdin is a socket to the supervisor. Stdout and stderr belong to the sidecar. The guard starts the program in a new
//! process group. The program's stdin is a pipe, the *lifeline*; the guard keeps its write end.
//!
//! If `LISTENER` is 1 (not 0), the first byte on the socket carries a listener (`SCM_RIGHTS`). The program finds the
//! listener at descriptor 3 and its own process id in `LISTEN_PID`. The supervisor sets the other variables of
//! `sd_listen_fds(3)`.
//!
//! | byte from the supervisor | what the guard does |
//! | --- | --- |
//! | `A` | terminates: ends the program's stdin and sends SIGTERM once to each remaining process |
//! | `K` | kills every remaining process |
//! | end of the stream | the app is gone: terminates, and kills when the grace period is over |
//!
//! | line to the supervisor | meaning |
//! | --- | --- |
//! | `spawned PID` | the program runs |
//! | `failed ERRNO` | the program could not be started; the guard exits |
//! | `exited CODE`, `signalled NUMBER` | the program has ended |
//! | `gone` | the program and all its descendants have ended; the guard exits |
//!
//! On Linux the guard is a child subreaper: a process that daemonises itself becomes the guard's child and stays visible.
//! The guard's death kills the program, and the app's death wakes the guard (`PR_SET_PDEATHSIG`). On macOS the guard finds
//! descendants by parent, process group and environment. It has its own session, so that neither Ctrl-C nor a closed
//! terminal reaches it. It has one thread and no configuration.

#![expect(clippy::print_stderr, reason = "a guard that is started by hand has no other output")]

#[expect(unsafe_code, reason = "std does not offer these system calls")]
mod sys;

use std::{
    env,
    ffi::OsString,
    io::{Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, Stdio, exit},
    time::{Duration, Instant},
};

use sys::{Descendant, Pid, Wake};

fn main() {
    let mut arguments = env::args_os().skip(1);
    let grace = arguments.next().and_then(|grace| grace.to_str()?.parse().ok()).map(Duration::from_millis);
    let listener = arguments.next().is_some_and(|listener| listener == "1");
    let (Some(grace), Some(program)) = (grace, arguments.next()) else {
        eprintln!("pillion-guard is started by pillion, not by hand");
        exit(2);
    };
    let listener = sys::detach(listener);
    let mut guard = match Guard::start(&program, arguments, listener) {
        Ok(guard) => guard,
        Err(error) => {
            report(&format!("failed {}", error.raw_os_error().unwrap_or(0)));
            exit(1);
        }
    };
    guard.run(grace);
    report("gone");
}

/// The sidecar and its descendants.
struct Guard {
    leader: Pid,
    /// Whether the leader was reaped. From then on the kernel may reuse its process id.
    reaped: bool,
    descendants: sys::Descendants,
    /// The write end of the leader's stdin.
    lifeline: Option<std::io::PipeWriter>,
    /// The processes that were terminated, once the first one was. A process that is orphaned later is terminated as well,
    /// and no process twice.
    terminated: Option<Vec<Descendant>>,
}

impl Guard {
    #[expect(clippy::disallowed_methods, reason = "the guard owns this child")]
    fn start(
        program: &OsString,
        arguments: impl Iterator<Item = OsString>,
        listener: bool,
    ) -> std::io::Result<Self> {
        let (stdin, lifeline) = std::io::pipe()?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::from(stdin)).process_group(0);
        sys::bind_to_this_process(&mut command, listener)?;
        let leader = Pid::from(command.spawn()?.id());
        report(&format!("spawned {leader}"));
        // The program's streams must end with the program, not with the guard.
        drop(command);
        sys::release_fds(listener);
        Ok(Self {
            leader,
            reaped: false,
            descendants: sys::Descendants::new(),
            lifeline: Some(lifeline),
            terminated: None,
        })
    }

    /// Returns when the sidecar and all its descendants have ended.
    fn run(&mut self, grace: Duration) {
        let mut connected = true;
        let mut deadline = None;
        let mut child_died = false;
        while self.reap() {
            // The children of a dead process have become ours. Check after reaping: most of the time nothing is left.
            if std::mem::take(&mut child_died) && self.terminated.is_some() {
                self.terminate();
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.kill();
            }
            match sys::wait(connected, self.timeout(deadline)) {
                Wake::Child | Wake::TimedOut => child_died = true,
                Wake::Supervisor => match read_command() {
                    Some(b'A') => self.terminate(),
                    Some(b'K') => {
                        self.kill();
                        deadline = Some(Instant::now());
                    }
                    Some(_) => {}
                    None => {
                        connected = false;
                        self.terminate();
                        deadline = deadline.or_else(|| Instant::now().checked_add(grace));
                    }
                },
            }
        }
    }

    /// Reaps the dead children. Returns false when no process is left.
    fn reap(&mut self) -> bool {
        if !sys::IS_SUBREAPER && !self.reaped {
            // Record the members of the leader's group before its number becomes reusable.
            self.list();
        }
        loop {
            match sys::reap() {
                sys::Reaped::Child(pid, status) if pid == self.leader && !self.reaped => {
                    self.reaped = true;
                    match (status.code(), status.signal()) {
                        (Some(code), _) => report(&format!("exited {code}")),
                        (None, Some(signal)) => report(&format!("signalled {signal}")),
                        (None, None) => report("exited 255"),
                    }
                }
                sys::Reaped::Child(..) => {}
                sys::Reaped::NoneDead => return true,
                sys::Reaped::NoneLeft => return !sys::IS_SUBREAPER && !self.list().is_empty(),
            }
        }
    }

    /// Asks each process that was not asked yet to end: the group at once, every other process alone. A daemon whose parent
    /// lives may not be listed; it is asked when it is orphaned.
    fn terminate(&mut self) {
        self.lifeline = None;
        // A stopped process cannot handle SIGTERM before it is continued (signal(7)).
        let signals = [sys::SIGTERM, sys::SIGCONT];
        let first = self.terminated.is_none();
        let mut terminated = self.terminated.take().unwrap_or_default();
        let (group, others) = self.list_by_group();
        terminated.retain(|old| group.iter().chain(&others).any(|process| process.is(old)));
        if first && (!self.reaped || !group.is_empty()) {
            signals.iter().for_each(|signal| sys::kill_group(self.leader, *signal));
            terminated.extend(group);
        }
        for process in others {
            if !terminated.iter().any(|old| old.is(&process)) {
                signals.iter().for_each(|signal| sys::kill(&process, *signal));
                terminated.push(process);
            }
        }
        self.terminated = Some(terminated);
    }

    fn kill(&mut self) {
        self.lifeline = None;
        let (group, others) = self.list_by_group();
        if !self.reaped || !group.is_empty() {
            sys::kill_group(self.leader, sys::SIGKILL);
        }
        others.iter().for_each(|process| sys::kill(process, sys::SIGKILL));
    }

    /// The live descendants in two parts: those that a signal to the group reaches, and those that need their own signal.
    ///
    /// The group's number stays valid while the leader is not reaped or another child of ours is in the group.
    fn list_by_group(&mut self) -> (Vec<Descendant>, Vec<Descendant>) {
        let number_is_held = sys::IS_SUBREAPER || !self.reaped;
        self.list().into_iter().partition(|process| number_is_held && process.group == self.leader)
    }

    fn list(&mut self) -> Vec<Descendant> {
        self.descendants.list(self.leader, !self.reaped)
    }

    /// How long to wait at most.
    ///
    /// After the deadline, a killed process may leave children, which become ours with its death. Its death wakes us;
    /// polling covers the rest. Where the guard is not a subreaper, only the leader's death wakes us.
    fn timeout(&self, deadline: Option<Instant>) -> Option<Duration> {
        const POLL_INTERVAL: Duration = Duration::from_millis(20);
        if !sys::IS_SUBREAPER && self.reaped {
            return Some(POLL_INTERVAL);
        }
        deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).max(POLL_INTERVAL))
    }
}

/// Sends a line to the supervisor.
fn report(line: &str) {
    // An error means that the supervisor is gone.
    let _ = sys::control().write_all(format!("{line}\n").as_bytes());
}

/// The next byte from the supervisor; `None` when it is gone.
fn read_command() -> Option<u8> {
    let mut byte = [0];
    match sys::control().read(&mut byte) {
        Ok(1) => Some(byte[0]),
        _ => None,
    }
}
