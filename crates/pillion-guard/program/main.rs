//! The guard of one sidecar.
//!
//! ```text
//! pillion-guard GRACE_MS LISTENERS PROGRAM ARGUMENT…
//! ```
//!
//! Stdin is a socket to the supervisor; stdout and stderr are the sidecar's. The guard starts the program in a process group
//! of its own, with a pipe for its stdin whose other end it keeps, and then does as it is told:
//!
//! With `LISTENERS` 1, and not 0, the first byte on the socket brings a listener along (`SCM_RIGHTS`). The program finds it at
//! descriptor 3, and its own process id in `LISTEN_PID`; the supervisor has set the other variables of `sd_listen_fds(3)`.
//!
//! | byte from the supervisor | what the guard does |
//! | --- | --- |
//! | `A` | asks: ends the program's stdin, sends SIGTERM once to each that is left |
//! | `K` | kills all that is left |
//! | end of the stream | the app is gone, by whatever death: asks, and kills once the grace period is over |
//!
//! | line to the supervisor | what has happened |
//! | --- | --- |
//! | `spawned PID` | the program runs |
//! | `failed ERRNO` | it could not be started; the guard exits |
//! | `exited CODE`, `signalled NUMBER` | the program has ended |
//! | `gone` | so has everything that came of it; the guard exits |
//!
//! On Linux it is a child subreaper: whatever daemonises itself becomes the guard's child, so that nothing can hide. Its
//! own death kills the program, and the app's death wakes it (`PR_SET_PDEATHSIG`). On macOS it looks for what came of the
//! program, by parents, process group and environment. It has a session of its own, so that no Ctrl-C and no closed terminal
//! reaches it. It has one thread and no configuration.

#![expect(clippy::print_stderr, reason = "there is nobody else to tell")]

#[expect(unsafe_code, reason = "std has no words for what it does")]
mod sys;

use std::{
    env,
    ffi::OsString,
    io::{Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, Stdio, exit},
    time::{Duration, Instant},
};

use sys::{Pid, Process, Wait};

fn main() {
    let mut arguments = env::args_os().skip(1);
    let grace = arguments.next().and_then(|grace| grace.to_str()?.parse().ok()).map(Duration::from_millis);
    let listener = arguments.next().is_some_and(|listeners| listeners == "1");
    let (Some(grace), Some(program)) = (grace, arguments.next()) else {
        eprintln!("pillion-guard is started by pillion, not by hand");
        exit(2);
    };
    let listener = sys::stand_apart(listener);
    let mut guard = match Guard::start(&program, arguments, listener) {
        Ok(guard) => guard,
        Err(error) => {
            tell(&format!("failed {}", error.raw_os_error().unwrap_or(0)));
            exit(1);
        }
    };
    guard.watch(grace);
    tell("gone");
}

/// The sidecar, and what came of it.
struct Guard {
    leader: Pid,
    /// Whether the leader was reaped, and with it the right to its number.
    reaped: bool,
    kin: sys::Kin,
    /// The other end of the leader's stdin.
    lifeline: Option<std::io::PipeWriter>,
    /// Who was asked to end, once anybody was: whoever is orphaned later is asked as well, and nobody twice.
    asked: Option<Vec<Process>>,
}

impl Guard {
    #[expect(clippy::disallowed_methods, reason = "it is what owns the child from here on")]
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
        tell(&format!("spawned {leader}"));
        // The program's streams end with the program, and not with the guard.
        drop(command);
        sys::let_go(listener);
        Ok(Self { leader, reaped: false, kin: sys::Kin::new(), lifeline: Some(lifeline), asked: None })
    }

    /// Returns when nothing is left of the sidecar.
    fn watch(&mut self, grace: Duration) {
        let mut connected = true;
        let mut deadline = None;
        let mut somebody_died = false;
        while self.reap() {
            // With somebody's death, its children have become ours. Only now, since most of the time nobody is left.
            if std::mem::take(&mut somebody_died) && self.asked.is_some() {
                self.ask();
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.kill();
            }
            match sys::wait(connected, self.timeout(deadline)) {
                Wait::Child | Wait::TimedOut => somebody_died = true,
                Wait::Supervisor => match hear() {
                    Some(b'A') => self.ask(),
                    Some(b'K') => {
                        self.kill();
                        deadline = Some(Instant::now());
                    }
                    Some(_) => {}
                    None => {
                        connected = false;
                        self.ask();
                        deadline = deadline.or_else(|| Instant::now().checked_add(grace));
                    }
                },
            }
        }
    }

    /// Reaps whoever has died; false when nobody is left.
    fn reap(&mut self) -> bool {
        if !sys::ADOPTS && !self.reaped {
            // Who is in the leader's group is seen to be, before the number is given up.
            self.look();
        }
        loop {
            match sys::reap() {
                sys::Reaped::Child(pid, status) if pid == self.leader && !self.reaped => {
                    self.reaped = true;
                    match (status.code(), status.signal()) {
                        (Some(code), _) => tell(&format!("exited {code}")),
                        (None, Some(signal)) => tell(&format!("signalled {signal}")),
                        (None, None) => tell("exited 255"),
                    }
                }
                sys::Reaped::Child(..) => {}
                sys::Reaped::NoneDead => return true,
                sys::Reaped::NoneLeft => return !sys::ADOPTS && !self.look().is_empty(),
            }
        }
    }

    /// Asks whoever was not asked yet: the group, and each other process. A daemon whose parent lives may be out of sight;
    /// its turn comes when it is orphaned.
    fn ask(&mut self) {
        self.lifeline = None;
        // A stopped process cannot handle SIGTERM before it is continued (signal(7)).
        let ask = [sys::SIGTERM, sys::SIGCONT];
        let first = self.asked.is_none();
        let mut asked = self.asked.take().unwrap_or_default();
        let (group, others) = self.look_apart();
        asked.retain(|asked| group.iter().chain(&others).any(|process| process.is(asked)));
        if first && (!self.reaped || !group.is_empty()) {
            ask.iter().for_each(|signal| sys::kill_group(self.leader, *signal));
            asked.extend(group);
        }
        for process in others {
            if !asked.iter().any(|it| it.is(&process)) {
                ask.iter().for_each(|signal| sys::kill(&process, *signal));
                asked.push(process);
            }
        }
        self.asked = Some(asked);
    }

    fn kill(&mut self) {
        self.lifeline = None;
        let (group, others) = self.look_apart();
        if !self.reaped || !group.is_empty() {
            sys::kill_group(self.leader, sys::SIGKILL);
        }
        others.iter().for_each(|process| sys::kill(process, sys::SIGKILL));
    }

    /// What came of the sidecar, unless it is dead: who a signal to the group reaches, and who has to be signalled alone.
    ///
    /// The group's number is its own while the leader is not reaped, or any other child of ours is in it.
    fn look_apart(&mut self) -> (Vec<Process>, Vec<Process>) {
        let held = sys::ADOPTS || !self.reaped;
        self.look().into_iter().partition(|process| held && process.group == self.leader)
    }

    fn look(&mut self) -> Vec<Process> {
        self.kin.look(self.leader, !self.reaped)
    }

    /// How long to wait at most.
    ///
    /// Once the deadline is over, whoever is killed may leave children behind, which come to us with its death; that wakes
    /// us, and a look every now and then makes sure. Where nobody is adopted, no death but the leader's wakes us.
    fn timeout(&self, deadline: Option<Instant>) -> Option<Duration> {
        const LOOK_AGAIN: Duration = Duration::from_millis(20);
        if !sys::ADOPTS && self.reaped {
            return Some(LOOK_AGAIN);
        }
        deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).max(LOOK_AGAIN))
    }
}

fn tell(line: &str) {
    // Where the supervisor is gone, nobody needs to know.
    let _ = sys::control().write_all(format!("{line}\n").as_bytes());
}

/// The next byte from the supervisor; `None` when it is gone.
fn hear() -> Option<u8> {
    let mut byte = [0];
    match sys::control().read(&mut byte) {
        Ok(1) => Some(byte[0]),
        _ => None,
    }
}
