//! Finds the processes of one test by a marker in their environment. Children inherit the environment, whatever happens to
//! their parent, process group or session. A daemonised grandchild is therefore found like any other process.

use std::{fmt, fs, io, os::fd::OwnedFd, path::PathBuf, time::Instant};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

/// A unique environment variable for all processes of one test, or of one launch of an app.
#[derive(Debug)]
pub struct TestMarker(String);

/// A process that was alive when it was found. A pidfd refers to it, so that its pid cannot come to mean another process.
pub struct LiveProcess {
    /// Its process id.
    pub pid: u32,
    /// The file that it executes.
    pub program: PathBuf,
    command: String,
    pidfd: OwnedFd,
}

impl TestMarker {
    /// The name of the environment variable.
    pub const VARIABLE: &str = "PILLION_TEST_MARKER";

    /// Creates a unique marker: the kernel makes a new UUID for each read (`random(4)`).
    ///
    /// # Errors
    /// `/proc` could not be read.
    pub fn new() -> io::Result<Self> {
        Ok(Self(fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim_end().to_owned()))
    }

    /// The value of the environment variable.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.0
    }

    /// The marked processes that are alive now. A zombie is dead, and its environment can no longer be read.
    ///
    /// # Errors
    /// `/proc` could not be read, or a pidfd could not be opened.
    pub fn alive(&self) -> io::Result<Vec<LiveProcess>> {
        let wanted = format!("{}={}", Self::VARIABLE, self.0);
        let mut alive = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
                continue;
            };
            match LiveProcess::open(pid, &wanted) {
                Ok(process) => alive.extend(process),
                Err(error) => match Errno::from_io_error(&error) {
                    // The process has ended in the meantime, and its pid may already be a thread's.
                    Some(Errno::NOENT | Errno::SRCH | Errno::INVAL) => {}
                    // The environment of another user's process is not readable, and that process is not ours.
                    Some(Errno::ACCESS | Errno::PERM) => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(alive)
    }
}

impl LiveProcess {
    /// Opens the pidfd first and reads about the process then. In the other order, a reused pid could describe another
    /// process. Returns `None` if the process was not started with `wanted` in its environment (`proc_pid_environ(5)`).
    fn open(pid: Pid, wanted: &str) -> io::Result<Option<Self>> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let pid = pid.as_raw_nonzero().get().unsigned_abs();
        let (command, environment, program) = loop {
            let [command, environment] =
                ["cmdline", "environ"].map(|file| fs::read(format!("/proc/{pid}/{file}")));
            let (command, environment) = (command?, environment?);
            // Without a program, it has ended, or is a thread of the kernel.
            let program = fs::read_link(format!("/proc/{pid}/exe"))?;
            // While a process executes a program, both are empty for a moment. One that runs has at least one argument.
            if !command.is_empty() {
                break (command, environment, program);
            }
            std::thread::yield_now();
        };
        if !environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            return Ok(None);
        }
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        Ok(Some(Self { pid, program, command, pidfd }))
    }

    /// Whether the file that it executes has this name.
    #[must_use]
    pub fn runs(&self, name: &str) -> bool {
        self.program.ends_with(name)
    }

    /// Whether it is a guard: guards run from memory (`memfd_create(2)`), from a file of this name, or from the app's own program.
    #[must_use]
    pub fn is_guard(&self) -> bool {
        let file = self.program.file_name().unwrap_or_default().to_string_lossy();
        file.starts_with("memfd:pillion-guard") || file.starts_with("pillion-guard") || self.is_own_guard()
    }

    /// Whether it is a guard from the app's own program.
    #[must_use]
    pub fn is_own_guard(&self) -> bool {
        self.command.starts_with("pillion-guard --pillion-guard=")
    }

    /// Whether it is a light guard, which runs from memory only, and has not become the full one.
    #[must_use]
    pub fn is_light_guard(&self) -> bool {
        self.program.to_string_lossy().contains("memfd:pillion-guard-light")
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// This user may not signal it, or its parent has already reaped it.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// Waits until it ends or the deadline passes. Returns whether it ended. A pidfd becomes readable when its process ends
    /// (`pidfd_open(2)`). Blocks.
    #[must_use]
    pub fn ends_before(&self, deadline: Instant) -> bool {
        loop {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
            match poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], left.as_ref()) {
                // A signal handler ran on this thread, for example tokio's handler of SIGCHLD.
                Err(Errno::INTR) => {}
                ready => return ready.is_ok_and(|ready| ready > 0),
            }
        }
    }
}

impl fmt::Debug for LiveProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.command.trim_end(), self.pid)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test waits for its child")]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::TEST_TIMEOUT;

    #[test]
    fn a_marked_process_is_found_until_it_ends() {
        let marker = TestMarker::new().unwrap();
        let mut child = Command::new("cat")
            .env(TestMarker::VARIABLE, marker.value())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let found = marker.alive().unwrap();
        assert_eq!(found.iter().map(|process| process.pid).collect::<Vec<_>>(), [child.id()]);
        assert!(found[0].runs("cat") && !found[0].runs("at"));
        assert!(!found[0].ends_before(Instant::now()));
        assert!(TestMarker::new().unwrap().alive().unwrap().is_empty(), "another marker finds it too");

        drop(child.stdin.take());
        assert!(found[0].ends_before(Instant::now() + TEST_TIMEOUT));
        // Not reaped yet: a zombie counts as dead.
        assert!(marker.alive().unwrap().is_empty());
        child.wait().unwrap();
    }
}
