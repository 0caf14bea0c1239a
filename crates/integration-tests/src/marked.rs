//! Who belongs to a test: every process that has its mark in the environment, which children inherit whatever they do to
//! their parents, groups and sessions. A daemonised grandchild is found like any other.

use std::{fmt, fs, io, os::fd::OwnedFd, path::PathBuf, time::Instant};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

/// What one test, or one launch of the app, and everything that comes of it, carries in its environment.
#[derive(Debug)]
pub struct Mark(String);

/// A process that was alive when it was looked for, held so that its number cannot come to mean another one.
pub struct Living {
    /// Its number.
    pub pid: u32,
    /// The file it runs.
    pub program: PathBuf,
    command: String,
    held: OwnedFd,
}

impl Mark {
    /// The environment variable that carries it.
    pub const VARIABLE: &str = "PILLION_TEST_MARK";

    /// One that nobody else has: the kernel makes a new UUID for each read (`random(4)`).
    ///
    /// # Errors
    /// `/proc` could not be read.
    pub fn new() -> io::Result<Self> {
        Ok(Self(fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim_end().to_owned()))
    }

    /// What to set the variable to.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.0
    }

    /// The processes that are alive now. A zombie has no environment any more, and is dead.
    ///
    /// # Errors
    /// `/proc` could not be read, or a process could not be held.
    pub fn alive(&self) -> io::Result<Vec<Living>> {
        let wanted = format!("{}={}", Self::VARIABLE, self.0);
        let mut alive = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
                continue;
            };
            match Living::hold(pid, &wanted) {
                Ok(process) => alive.extend(process),
                Err(error) => match Errno::from_io_error(&error) {
                    // It has ended meanwhile, and the number may be a thread's by now.
                    Some(Errno::NOENT | Errno::SRCH | Errno::INVAL) => {}
                    // Another user's processes cannot be looked into, and are not ours.
                    Some(Errno::ACCESS | Errno::PERM) => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(alive)
    }
}

impl Living {
    /// Holds the process first and reads about it then: had the number changed hands in between, what was read would be
    /// another process's. Nothing if the environment that it was started with (`proc_pid_environ(5)`) lacks `wanted`.
    fn hold(pid: Pid, wanted: &str) -> io::Result<Option<Self>> {
        let held = pidfd_open(pid, PidfdFlags::empty())?;
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        let environment = fs::read(format!("/proc/{pid}/environ"))?;
        if !environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            return Ok(None);
        }
        let program = fs::read_link(format!("/proc/{pid}/exe"))?;
        let command = fs::read(format!("/proc/{pid}/cmdline"))?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        Ok(Some(Self { pid, program, command, held }))
    }

    /// Whether it runs a program of this file name.
    #[must_use]
    pub fn runs(&self, name: &str) -> bool {
        self.program.ends_with(name)
    }

    /// Whether it is a guard, which runs from memory (`memfd_create(2)`), and not a sidecar.
    #[must_use]
    pub fn is_guard(&self) -> bool {
        self.program.to_string_lossy().starts_with("/memfd:pillion-guard")
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is not ours to signal, or has ended and was waited for.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.held, signal)?)
    }

    /// Waits for its end, and says whether it came in time: a pidfd is readable once its process has ended
    /// (`pidfd_open(2)`).
    #[must_use]
    pub fn ends_before(&self, deadline: Instant) -> bool {
        loop {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
            match poll(&mut [PollFd::new(&self.held, PollFlags::IN)], left.as_ref()) {
                // A signal handler ran on this thread, such as tokio's for SIGCHLD.
                Err(Errno::INTR) => {}
                ready => return ready.is_ok_and(|ready| ready > 0),
            }
        }
    }
}

impl fmt::Debug for Living {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.command.trim_end(), self.pid)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the child is waited for here")]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::PATIENCE;

    #[test]
    fn a_marked_process_is_found_until_it_ends() {
        let mark = Mark::new().unwrap();
        let mut child =
            Command::new("cat").env(Mark::VARIABLE, mark.value()).stdin(Stdio::piped()).spawn().unwrap();
        let found = mark.alive().unwrap();
        assert_eq!(found.iter().map(|process| process.pid).collect::<Vec<_>>(), [child.id()]);
        assert!(found[0].runs("cat") && !found[0].runs("at"));
        assert!(!found[0].ends_before(Instant::now()));
        assert!(Mark::new().unwrap().alive().unwrap().is_empty(), "another mark finds it, too");

        drop(child.stdin.take());
        assert!(found[0].ends_before(Instant::now() + PATIENCE));
        // Not reaped yet: a zombie is dead.
        assert!(mark.alive().unwrap().is_empty());
        child.wait().unwrap();
    }
}
