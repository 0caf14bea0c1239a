//! What the world is told of a sidecar. These types cross every boundary: logs, JSON lines, the webview.

use std::{fmt, num::NonZeroU16};

use serde::{Deserialize, Serialize};

/// Where a sidecar is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(rename = "Lifecycle"))]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Not started yet: something that it depends on is not ready.
    Waiting,
    /// Being started: not announced yet, or not healthy yet.
    Starting,
    /// Announced and healthy.
    Ready,
    /// It was ready, and its health fails, or an answer is overdue. It may still serve.
    Unhealthy,
    /// On its way down; what is left of its process group is being stopped.
    Stopping,
    /// Down unasked, and about to be started again; [`Status::failure`] says why.
    BackingOff,
    /// Down, because somebody asked for it or because it finished by itself with exit code 0.
    Stopped,
    /// Down, and nobody wanted that; [`Status::failure`] says why.
    Failed,
}

/// How a process ended: `code` where it exited, `signal` where one killed it (Unix).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Exit {
    /// The exit code, or `None` where a signal ended the process.
    pub code: Option<i32>,
    /// The signal's number, or `None` where the process exited by itself.
    pub signal: Option<i32>,
}

impl Exit {
    /// Whether the process exited by itself with code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exited with code {code}"),
            (None, Some(signal)) => match signal_name(signal) {
                Some(name) => write!(f, "was killed by {name}"),
                None => write!(f, "was killed by signal {signal}"),
            },
            (None, None) => write!(f, "ended in an unknown way"),
        }
    }
}

/// The signals that a reader may meet, by the numbers that Linux and macOS share (signal(7)).
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

/// Why a sidecar is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub enum FailureKind {
    /// No sidecar of that name is declared.
    UnknownSidecar,
    /// The program could not be started at all.
    Spawn,
    /// The process ended before it was ready.
    ExitedEarly,
    /// The process neither became ready nor ended in the time given for a start; it was stopped.
    ReadyTimeout,
    /// The process ended after it had been ready, and not with code 0.
    Crashed,
    /// The process answered nothing for too long after it had been ready; it was stopped.
    Hung,
    /// Something that the sidecar depends on is not there.
    Dependency,
    /// The sidecar was stopped, or finished by itself, and is not being started again.
    Stopped,
    /// The sidecar is there, on a socket: it has no port that could be told.
    NoPort,
}

/// An error about a sidecar: for programs (`kind`), for people (`message`), for the curious (`detail`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[error("{message}")]
pub struct Failure {
    /// What happened.
    pub kind: FailureKind,
    /// The same in a sentence that says what to do where that is known.
    pub message: String,
    /// What there is to look at.
    pub detail: Detail,
}

/// The diagnostics behind a [`Failure`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Detail {
    /// The sidecar's name.
    pub sidecar: String,
    /// How its process ended, where it had one.
    pub exit: Option<Exit>,
    /// The last lines of its output, oldest first, stdout and stderr as they came; invalid UTF-8 replaced.
    pub tail: Vec<String>,
}

/// Where a ready sidecar is to be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Endpoint {
    /// The sidecar's name.
    pub sidecar: String,
    /// `http://127.0.0.1:{port}`: the literal address, so that no resolver and no IPv6 preference has a say. For a sidecar on
    /// a socket `pillion://localhost`, by which nobody but the plugin's client knows what to do.
    pub url: String,
    /// The port of 127.0.0.1 that it announced; `None` for a sidecar on a socket.
    pub port: Option<NonZeroU16>,
    /// Its process, unless it was attached to.
    pub pid: Option<u32>,
    /// The version that its health names.
    pub version: Option<String>,
}

impl Endpoint {
    /// The port, for those who can do with nothing else.
    ///
    /// # Errors
    /// [`FailureKind::NoPort`] for a sidecar on a socket.
    pub fn tcp_port(&self) -> Result<NonZeroU16, Failure> {
        self.port.ok_or_else(|| Failure {
            kind: FailureKind::NoPort,
            message: format!(
                "{} listens on a socket, and has no port: requests go through the app",
                self.sidecar
            ),
            detail: Detail { sidecar: self.sidecar.clone(), ..Detail::default() },
        })
    }
}

/// A snapshot of one sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
pub struct Status {
    /// The sidecar's name.
    pub sidecar: String,
    /// Grows with each change, so that two snapshots can be put in order.
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub seq: u64,
    /// When this change happened, in milliseconds since the Unix epoch.
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub at: u64,
    /// Where the sidecar is in its life.
    pub state: State,
    /// Its process, or the last one it had.
    pub pid: Option<u32>,
    /// The announced port, while the process that announced it lives; where the listener is handed over, also from one
    /// process to the next. A sidecar on a socket has none.
    pub port: Option<NonZeroU16>,
    /// [`Endpoint::url`] while it is ready.
    pub url: Option<String>,
    /// The version that its health names, while it is ready.
    pub version: Option<String>,
    /// What this change came from, in words.
    pub reason: Option<String>,
    /// Why it is not there, or about not to be.
    pub failure: Option<Failure>,
    /// How the process ended, once it has.
    pub exit: Option<Exit>,
    /// How often it was restarted by itself since it was last up for long.
    pub restarts: u32,
}

/// What it took to stop a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "says whether the sidecar had to be killed"]
pub enum StopOutcome {
    /// Nothing was running.
    NotRunning,
    /// It was only attached to, and goes on.
    Detached,
    /// It ended within the grace period, and so did its process group.
    Graceful(Exit),
    /// It ended within the grace period, but others of its process group did not, and were killed.
    GroupKilled(Exit),
    /// It did not end within the grace period, or force was asked for, and it was killed.
    Killed(Exit),
    /// It was killed and did not die in time, as a process in uninterruptible sleep can (Linux, state D).
    Abandoned,
}
