//! What the supervisor publishes about a sidecar. These types cross every boundary: log, JSON lines, webview.
//!
//! The documentation of their fields is copied into the TypeScript types, so it names no Rust item.

use std::{fmt, num::NonZeroU16};

use serde::{Deserialize, Serialize};

/// The state of a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum State {
    /// Not running, because nothing uses it: it runs on demand, and its next use starts it. It was not started yet, was stopped
    /// after a time without a use, or ended while nothing used it.
    Idle,
    /// Not started yet: a sidecar that it depends on is not ready.
    Waiting,
    /// Starting: it has not announced its address yet, or it has not passed its ready check yet.
    Starting,
    /// It has passed its ready check: by default, it has announced its address and is healthy.
    Ready,
    /// It was ready, and now its health check fails or an answer is overdue. It may still serve requests.
    Unhealthy,
    /// The supervisor is stopping its process group.
    Stopping,
    /// It went down without a request, and will be started again; [`Status::failure`] says why it went down.
    BackingOff,
    /// Down, because a stop was requested or because it exited by itself with code 0.
    Stopped,
    /// Down after a failure; [`Status::failure`] says which.
    Failed,
}

/// Whether requests can reach the sidecar. [`Supervisor::ready`](crate::Supervisor::ready) starts it when it is idle, waits while it
/// is pending, returns the endpoint when it is up, and fails when it is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Readiness {
    /// Not reachable now, but the supervisor is starting it or will start it again: waiting helps.
    Pending,
    /// Not reachable now: it runs on demand, and nothing uses it. It is neither up nor down: a request starts it.
    Idle,
    /// Reachable, if it has an address: it has passed its ready check. Its latest health check may have failed.
    Up,
    /// Not reachable, and it stays so until a start is requested.
    Down,
}

/// How a process ended: by an exit code, or on Unix by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[non_exhaustive]
pub struct Exit {
    /// The exit code, if the process exited by itself.
    pub code: Option<i32>,
    /// The number of the signal, if a signal ended the process.
    pub signal: Option<i32>,
}

impl Exit {
    /// An exit with this code.
    #[must_use]
    pub const fn with_code(code: i32) -> Self {
        Self { code: Some(code), signal: None }
    }

    /// An end by this signal.
    #[must_use]
    pub const fn with_signal(signal: i32) -> Self {
        Self { code: None, signal: Some(signal) }
    }

    /// Whether the process exited by itself with code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => match windows_status(code) {
                Some((status, Some(meaning))) => write!(f, "exited with code 0x{status:08X} ({meaning})"),
                Some((status, None)) => write!(f, "exited with code 0x{status:08X}"),
                // Of `cmd.exe`, and of the `python3.exe` that only opens the Microsoft Store. Unix has no such exit code.
                None if code == 9009 => {
                    write!(f, "exited with code 9009 (a command was not found, or Python is not installed)")
                }
                None => write!(f, "exited with code {code}"),
            },
            (None, Some(signal)) => match signal_name(signal) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {signal}"),
            },
            (None, None) => write!(f, "ended in an unknown way"),
        }
    }
}

/// The status of Windows that an exit code is, and what it means. Unix has no such exit codes: they are not negative there, and small
/// negative ones, such as -1, come from the program itself (NTSTATUS, \[MS-ERREF\] 2.3).
fn windows_status(code: i32) -> Option<(u32, Option<&'static str>)> {
    const SMALLEST_OWN: i32 = -0xFFFF;
    if code >= SMALLEST_OWN {
        return None;
    }
    let status = code.cast_unsigned();
    let meaning = match status {
        0x8000_0003 => "a breakpoint, or an abort",
        0xC000_0005 => "an invalid memory access",
        0xC000_0017 => "no memory",
        0xC000_001D => "an instruction that this processor does not have",
        0xC000_007B => "a DLL is damaged or for another architecture",
        0xC000_0094 => "a division by zero",
        0xC000_00FD => "a stack overflow",
        0xC000_0135 => "a DLL is missing",
        0xC000_0138 | 0xC000_0139 => "a DLL lacks a function: another version is expected",
        0xC000_013A => "Ctrl-C, or its console was closed",
        0xC000_0142 => "a DLL could not be initialised",
        0xC000_0374 => "a damaged heap",
        0xC000_0409 => "an abort, or a damaged stack",
        0xE043_4352 => "an exception of .NET",
        0xE06D_7363 => "an exception of C++",
        _ => return Some((status, None)),
    };
    Some((status, Some(meaning)))
}

/// The names of common signals whose numbers Linux and macOS share (signal(7)).
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return None,
    })
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum FailureKind {
    /// No sidecar of that name is declared.
    UnknownSidecar,
    /// The program could not be started.
    Spawn,
    /// The program is not the one that the declaration expects, by its checksum, its version, or the protocol that it speaks. It is not
    /// started again.
    Mismatch,
    /// The process ended before it was ready.
    ExitedEarly,
    /// The process was not ready within the time limit for a start, and was stopped.
    ReadyTimeout,
    /// The process ended after it had been ready, and not with code 0.
    Crashed,
    /// The process had been ready, then answered nothing for too long, and was stopped.
    Hung,
    /// Its processes used more memory than its declaration allows (`maxMemory`), and it was stopped.
    MemoryLimit,
    /// A sidecar that this one depends on has failed.
    Dependency,
    /// The sidecar was stopped, or exited by itself with code 0, and is not being started again.
    Stopped,
    /// The sidecar is ready, but it has no port: it listens on a local socket, or it has no address at all.
    NoPort,
}

/// An error about a sidecar: `kind` for programs, `message` for people, `detail` for diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[error("{message}")]
#[non_exhaustive]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// A sentence that says what happened and, if known, what to do.
    pub message: String,
    /// The diagnostics.
    pub detail: Detail,
}

impl Failure {
    /// A failure of the sidecar of this name, without exit status and output.
    #[must_use]
    pub fn new(kind: FailureKind, sidecar: impl Into<String>, message: impl Into<String>) -> Self {
        let detail = Detail { sidecar: sidecar.into(), exit: None, tail: Vec::new() };
        Self { kind, message: message.into(), detail }
    }
}

/// The diagnostics of a [`Failure`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[non_exhaustive]
pub struct Detail {
    /// The name of the sidecar.
    pub sidecar: String,
    /// How its process ended, if it had one and it has ended.
    pub exit: Option<Exit>,
    /// The last lines of its output, oldest first, stdout and stderr mixed as they came. Invalid UTF-8 is replaced by U+FFFD. A page
    /// without the permission to read the output receives none.
    pub tail: Vec<String>,
}

/// Where a ready sidecar is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[non_exhaustive]
pub struct Endpoint {
    /// The name of the sidecar.
    pub sidecar: String,
    /// `http://127.0.0.1:{port}`: a literal address, so that no resolver and no preference for IPv6 applies. It is
    /// `pillion://localhost` for a sidecar on a local socket; only the client of the plugin understands that URL. `None` if the
    /// sidecar has no address, as a worker that is ready when it is started.
    pub url: Option<String>,
    /// Its port of 127.0.0.1. A sidecar on a local socket has none.
    pub port: Option<NonZeroU16>,
    /// The process id. An attached server has none.
    pub pid: Option<u32>,
    /// The version from its health report.
    pub version: Option<String>,
}

impl Endpoint {
    /// The base URL.
    ///
    /// # Errors
    /// [`FailureKind::NoPort`] for a sidecar without an address.
    pub fn base_url(&self) -> Result<&str, Failure> {
        self.url.as_deref().ok_or_else(|| self.no_address())
    }

    /// The failure of a request to a sidecar without an address.
    pub(crate) fn no_address(&self) -> Failure {
        let message = format!(
            "{} is ready, but it has no address: it has announced none, and its declaration gives it no port",
            self.sidecar
        );
        Failure::new(FailureKind::NoPort, &self.sidecar, message)
    }

    /// The port, for clients that can use nothing else.
    ///
    /// # Errors
    /// [`FailureKind::NoPort`] for a sidecar on a local socket, and for one without an address.
    pub fn tcp_port(&self) -> Result<NonZeroU16, Failure> {
        self.base_url()?;
        self.port.ok_or_else(|| {
            let message = format!(
                "{} has no port: it listens on a local socket; send requests through the app",
                self.sidecar
            );
            Failure::new(FailureKind::NoPort, &self.sidecar, message)
        })
    }
}

/// A snapshot of one sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[non_exhaustive]
pub struct Status {
    /// The name of the sidecar.
    pub sidecar: String,
    /// Grows with each change: it orders snapshots.
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub seq: u64,
    /// The time of this change, in milliseconds since the Unix epoch.
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub at: u64,
    /// The state of the sidecar.
    pub state: State,
    /// Whether requests can reach the sidecar.
    pub readiness: Readiness,
    /// The id of its present or last process.
    pub pid: Option<u32>,
    /// When that process was started, in milliseconds since the Unix epoch.
    #[cfg_attr(feature = "ts", ts(type = "number | null"))]
    pub started: Option<u64>,
    /// Its port, while its process lives. With a listener handover it stays known between two processes. A sidecar on a
    /// local socket has none.
    pub port: Option<NonZeroU16>,
    /// The base URL, while the sidecar is up and if it has an address.
    pub url: Option<String>,
    /// The version from its health report, while the sidecar is up.
    pub version: Option<String>,
    /// How far the sidecar is, in its own words, such as `loading model 42%`: the last line of progress (`BACKEND_STATUS:`) of its
    /// present process. Changes at most four times a second.
    pub progress: Option<String>,
    /// Why this change happened, in words.
    pub reason: Option<String>,
    /// The failure that took the sidecar down, or is taking it down.
    pub failure: Option<Failure>,
    /// How the process ended, once it has ended.
    pub exit: Option<Exit>,
    /// The number of automatic restarts since the sidecar was last up for long.
    pub restarts: u32,
}

/// What it took to stop a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "says whether the sidecar had to be killed"]
#[non_exhaustive]
pub enum StopOutcome {
    /// Nothing was running.
    NotRunning,
    /// It is an attached server, which the supervisor never stops.
    Detached,
    /// The leader and its process group ended within the grace period.
    Graceful(Exit),
    /// The leader ended within the grace period; the rest of its process group did not, and was killed.
    GroupKilled(Exit),
    /// The leader was killed: it did not end within the grace period, or a kill was requested.
    Killed(Exit),
    /// The supervisor killed it, and it did not end in time: for example a process in uninterruptible sleep (Linux, state D).
    Abandoned,
}

/// Why processes were killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum KillReason {
    /// The grace period was over.
    GraceOver,
    /// A kill was requested.
    Requested,
}

/// One of the two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a figure of memory counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum MemoryKind {
    /// Each page that several processes share is divided among them, and pages in the swap count (`Pss` and `SwapPss` of
    /// `proc_pid_smaps(5)`; Linux).
    Proportional,
    /// The same, but of some processes the resident pages, because the system hides their proportional memory (`VmRSS` of
    /// `proc_pid_status(5)`; Linux): a page that they share with others counts several times.
    Resident,
    /// What the system has promised to each process alone, used or not, in memory or in the page file (`PrivateUsage` of
    /// `PROCESS_MEMORY_COUNTERS_EX`; Windows). Pages that processes share do not count.
    Private,
    /// The memory for which the system holds each process responsible, compressed and swapped pages included, as the system's own limits
    /// and Activity Monitor count it (`ri_phys_footprint` of `proc_pid_rusage`; macOS).
    Footprint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_windows_is_shown_as_such() {
        for (code, shown) in [
            (0, "exited with code 0"),
            (255, "exited with code 255"),
            (-1, "exited with code -1"),
            (9009, "exited with code 9009 (a command was not found, or Python is not installed)"),
            (-1_073_741_515, "exited with code 0xC0000135 (a DLL is missing)"),
            (-1_073_741_819, "exited with code 0xC0000005 (an invalid memory access)"),
            (-1_073_740_000, "exited with code 0xC0000720"),
            (i32::MAX, "exited with code 2147483647"),
        ] {
            assert_eq!(Exit::with_code(code).to_string(), shown);
        }
    }
}
