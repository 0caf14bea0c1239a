//! What is known about the end of a run.

use std::{fmt::Write as _, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    output::LAST_LINES,
    report::units::{bytes, duration},
    status::{Exit, KillReason},
};

/// The report about the end of one run of a sidecar: how it ended, on whose order, and what it had used.
///
/// [`Supervisor::exit_reports`](crate::Supervisor::exit_reports) returns the last ones, [`SidecarEvent::Ended`](crate::SidecarEvent::Ended)
/// publishes each, and [`Spec::keep_exit_reports`](crate::Spec::keep_exit_reports) keeps them as files. [`summary`](Self::summary) says
/// the same in words. A start that failed before a process existed has no report: its status holds the failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ExitReport {
    /// The name of the sidecar.
    pub sidecar: String,
    /// Which run it was, counted from 1 since the app started; 0 if the app died before it knew the number. A report of an earlier
    /// start of the app keeps the number that it had.
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub run: u64,
    /// The process id of its first process. `None` if the app died before it knew the id.
    pub pid: Option<u32>,
    /// When it was started, in milliseconds since the Unix epoch.
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    pub started_at: u64,
    /// When its first process ended, in milliseconds since the Unix epoch. `None` if neither the app nor a guard saw the end.
    #[cfg_attr(feature = "ts", ts(type = "number | null"))]
    pub ended_at: Option<u64>,
    /// How long its first process lived, in milliseconds, by a clock that no change of the time affects; by the wall clock for a run
    /// that the app did not outlive. `None` if the end was not seen.
    #[cfg_attr(feature = "ts", ts(type = "number | null"))]
    pub lifetime_ms: Option<u64>,
    /// How long after its start it was ready for the first time, in milliseconds. `None` if it never was.
    #[cfg_attr(feature = "ts", ts(type = "number | null"))]
    pub ready_after_ms: Option<u64>,
    /// How its first process ended. `None` if the end was not seen, or if the process could not be killed.
    pub exit: Option<Exit>,
    /// Why it ended, and on whose order.
    pub reason: EndReason,
    /// The sentence of the failure, with what to do about it, if the end was a failure.
    pub message: Option<String>,
    /// What the supervisor or the guard had to kill. `None` if every process ended by itself or when it was asked.
    pub killed: Option<Killed>,
    /// Whether the first process left a core dump, as the system says; `false` also if the limit for its size is 0. `None` on Windows,
    /// and if the end was not seen. Where the dump is, `core(5)` says.
    pub core_dumped: Option<bool>,
    /// The most memory that it used, in bytes. On Linux and macOS: the largest resident set of any one of its processes (`ru_maxrss` of
    /// getrusage(2)). On Windows: the committed memory of all its processes together. On Linux on x86-64, if it is no more than the app
    /// had used when it started the sidecar, which the system counts as well: that of its first process when the supervisor last looked,
    /// which it does when the sidecar becomes ready, answers a liveness probe, or is asked to stop (`VmHWM`, `proc_pid_status(5)`).
    /// `None` if nothing of that is known.
    #[cfg_attr(feature = "ts", ts(type = "number | null"))]
    pub peak_memory: Option<u64>,
    /// The processor time of all its processes, user and system, in milliseconds. On Linux and macOS without processes that their own
    /// parent ignored (SIGCHLD, wait(2)), on macOS also without those that outlived their parent. `None` if the guard
    /// was killed, and without a guard, except on Linux, where it is then that of the first process.
    #[cfg_attr(feature = "ts", ts(type = "number | null"))]
    pub cpu_time_ms: Option<u64>,
    /// The processes that still ran when its first process had ended, at most five, each as name and process id. They were stopped, and
    /// killed if `killed` says so. Linux; empty elsewhere.
    #[serde(default)]
    pub left: Vec<String>,
    /// How many automatic restarts had preceded this run since the sidecar was last up for long.
    pub restarts: u32,
    /// The last lines that it wrote to stdout, oldest first, at most 20. Invalid UTF-8 is replaced by U+FFFD, and long lines are
    /// cut. A page without the permission to read the output receives none. Empty for a run that the app did not outlive.
    #[serde(default)]
    pub stdout: Vec<String>,
    /// The last lines that it wrote to stderr, as `stdout`.
    #[serde(default)]
    pub stderr: Vec<String>,
}

/// Why a run ended, and on whose order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum EndReason {
    /// A stop was requested.
    Stop,
    /// A kill was requested.
    Kill,
    /// A restart was requested.
    Restart,
    /// A new run has replaced it (swap).
    Swap,
    /// It should have replaced another run, and the swap was cancelled.
    SwapCancelled,
    /// The app installed an update (`stop_while`).
    Update,
    /// The app ended, or dropped its last handle to the sidecar.
    AppEnd,
    /// The app died without stopping it: killed, or crashed. Its guard stopped it, or the system did (Windows).
    AppDeath,
    /// A dependency with which it is restarted went down.
    Dependency,
    /// It runs on demand, and nothing used it.
    Unused,
    /// It exited by itself with code 0 after it had been ready.
    Finished,
    /// It ended by itself, and not with code 0, after it had been ready.
    Crashed,
    /// The kernel killed it because memory ran out (Linux).
    OutOfMemory,
    /// Its processes used more memory than its declaration allows (`maxMemory`), and it was stopped.
    MemoryLimit,
    /// It ended before it was ready.
    ExitedEarly,
    /// It was not ready within the time limit for a start.
    ReadyTimeout,
    /// It is not the program that the declaration expects.
    Mismatch,
    /// It answered nothing for too long.
    Hung,
    /// It did not say for too long that it works, or said that it hangs (`WATCHDOG=1`, `sd_notify(3)`).
    Watchdog,
}

/// What had to be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Killed {
    /// Why.
    pub why: KillReason,
    /// Whether the first process was killed, too. Otherwise it had ended, and only other processes were left.
    pub leader: bool,
    /// Whether a process did not even end then, and was left behind.
    pub survived: bool,
}

impl EndReason {
    /// Whether the run ended without an order of the app, and not because it was done or unused.
    #[must_use]
    pub fn is_abnormal(self) -> bool {
        match self {
            Self::AppDeath
            | Self::Crashed
            | Self::OutOfMemory
            | Self::MemoryLimit
            | Self::ExitedEarly
            | Self::ReadyTimeout
            | Self::Mismatch
            | Self::Hung
            | Self::Watchdog => true,
            Self::Stop
            | Self::Kill
            | Self::Restart
            | Self::Swap
            | Self::SwapCancelled
            | Self::Update
            | Self::AppEnd
            | Self::Dependency
            | Self::Unused
            | Self::Finished => false,
        }
    }
}

impl ExitReport {
    /// How many lines of each stream a report has at most.
    pub const LINES: usize = LAST_LINES;

    /// The report in words: what happened, and then the [facts](Self::facts). It contains no line of the output, except those
    /// that [`Failure::message`](crate::Failure::message) quotes.
    ///
    /// ```no_run
    /// # async fn example(backend: pillion::Supervisor) {
    /// for report in backend.exit_reports().await {
    ///     println!("{}", report.summary());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn summary(&self) -> String {
        format!("{}. {}", self.event(), self.facts())
    }

    /// Whether a person should see it: the end was abnormal, or something had to be killed.
    #[must_use]
    pub fn is_notable(&self) -> bool {
        self.reason.is_abnormal() || self.killed.is_some_and(|killed| killed.why == KillReason::GraceOver)
    }

    /// What happened.
    fn event(&self) -> String {
        let (name, ended) = (&self.sidecar, self.ended());
        let mut event = match (self.reason, &self.message) {
            (_, Some(message)) => message.clone(),
            (EndReason::Stop, _) => format!("{name} {ended} after it was asked to stop"),
            (EndReason::Kill, _) => format!("{name} {ended}, as requested"),
            (EndReason::Restart, _) => format!("{name} {ended} after it was asked to stop for a restart"),
            (EndReason::Swap, _) => format!("{name} {ended} after a new run had replaced it"),
            (EndReason::SwapCancelled, _) => format!("{name} {ended} after its swap was cancelled"),
            (EndReason::Update, _) => {
                format!("{name} {ended} after it was asked to stop for an update of the app")
            }
            (EndReason::AppEnd, _) => {
                format!("{name} {ended} after it was asked to stop, because the app ended")
            }
            (EndReason::AppDeath, _) => match self.exit {
                Some(_) => format!("{name} {ended} after the app had died, and its guard stopped it"),
                None => format!("{name} ended with the app, which died; the end of {name} was not seen"),
            },
            (EndReason::Dependency, _) => format!("{name} {ended} after a dependency went down"),
            (EndReason::Unused, _) => {
                format!("{name} {ended} after it was asked to stop, because nothing used it")
            }
            (
                EndReason::Finished
                | EndReason::Crashed
                | EndReason::OutOfMemory
                | EndReason::MemoryLimit
                | EndReason::ExitedEarly
                | EndReason::ReadyTimeout
                | EndReason::Mismatch
                | EndReason::Hung
                | EndReason::Watchdog,
                None,
            ) => format!("{name} {ended} by itself"),
        };
        if let Some(Killed { why, leader, survived }) = self.killed {
            event += match (why, leader) {
                (KillReason::GraceOver, true) => "; it did not end within its grace period, and was killed",
                (KillReason::GraceOver, false) => {
                    "; its other processes did not end within the grace period, and were killed"
                }
                (KillReason::Requested, false) => "; its other processes were killed",
                (KillReason::Requested, true) => "",
            };
            if survived {
                event += "; a process does not die, and was left behind";
            }
        }
        event
    }

    /// How long it ran, what it used and what it left, in sentences.
    #[must_use]
    pub fn facts(&self) -> String {
        let mut facts = match self.lifetime_ms {
            Some(lifetime) => format!("It ran for {}", ms(lifetime)),
            None => "It ran for an unknown time".to_owned(),
        };
        facts += &match self.ready_after_ms {
            Some(after) => format!(", ready after {}", ms(after)),
            None => ", and was never ready".to_owned(),
        };
        if let Some(cpu) = self.cpu_time_ms {
            let _ = write!(facts, "; it used {} of processor time", ms(cpu));
        }
        if let Some(peak) = self.peak_memory {
            let _ = write!(facts, "{} at most {} of memory", and(self.cpu_time_ms.is_some()), bytes(peak));
        }
        if self.core_dumped == Some(true) {
            facts += "; it left a core dump";
        }
        if !self.left.is_empty() {
            let _ = write!(facts, "; still running when it had ended: {}", self.left.join("; "));
        }
        if self.restarts > 0 {
            let _ = write!(facts, "; automatic restarts before it: {}", self.restarts);
        }
        facts + "."
    }

    fn ended(&self) -> String {
        self.exit.map_or_else(|| "ended".to_owned(), |exit| exit.to_string())
    }
}

fn and(second: bool) -> &'static str {
    if second { " and" } else { "; it used" }
}

fn ms(ms: u64) -> String {
    duration(Duration::from_millis(ms))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report of a run that was ready, and was asked to stop.
    pub(crate) fn report() -> ExitReport {
        ExitReport {
            sidecar: "backend".to_owned(),
            run: 3,
            pid: Some(4711),
            started_at: 1_764_000_000_000,
            ended_at: Some(1_764_000_003_250),
            lifetime_ms: Some(3250),
            ready_after_ms: Some(400),
            exit: Some(Exit::with_code(0)),
            reason: EndReason::Stop,
            message: None,
            killed: None,
            core_dumped: Some(false),
            peak_memory: Some(120 << 20),
            cpu_time_ms: Some(900),
            left: Vec::new(),
            restarts: 0,
            stdout: vec!["last words".to_owned()],
            stderr: Vec::new(),
        }
    }

    #[test]
    fn the_summary_says_what_happened_and_then_the_facts() {
        let killed = |leader| Some(Killed { why: KillReason::GraceOver, leader, survived: false });
        let crash = Some("backend was killed by SIGSEGV while it was in use".to_owned());
        for (report, expected) in [
            (
                report(),
                "backend exited with code 0 after it was asked to stop. It ran for 3.2 s, ready after 400 ms; it used 900 ms of \
                 processor time and at most 120 MiB of memory.",
            ),
            (
                ExitReport {
                    exit: Some(Exit::with_signal(9)),
                    reason: EndReason::AppEnd,
                    killed: killed(true),
                    cpu_time_ms: None,
                    ..report()
                },
                "backend was killed by SIGKILL after it was asked to stop, because the app ended; it did not end within its grace \
                 period, and was killed. It ran for 3.2 s, ready after 400 ms; it used at most 120 MiB of memory.",
            ),
            (
                ExitReport {
                    reason: EndReason::Crashed,
                    message: crash,
                    killed: killed(false),
                    core_dumped: Some(true),
                    peak_memory: Some(512 << 10),
                    left: vec!["sleep, process 12".to_owned()],
                    restarts: 2,
                    ..report()
                },
                "backend was killed by SIGSEGV while it was in use; its other processes did not end within the grace period, and were \
                 killed. It ran for 3.2 s, ready after 400 ms; it used 900 ms of processor time and at most 512 KiB of memory; \
                 it left a core dump; still running when it had ended: sleep, process 12; automatic restarts before it: 2.",
            ),
            (
                ExitReport {
                    exit: None,
                    reason: EndReason::AppDeath,
                    lifetime_ms: None,
                    ready_after_ms: None,
                    cpu_time_ms: None,
                    peak_memory: None,
                    ..report()
                },
                "backend ended with the app, which died; the end of backend was not seen. It ran for an unknown time, and was \
                 never ready.",
            ),
        ] {
            assert_eq!(report.summary(), expected);
        }
    }

    #[test]
    fn the_summary_of_a_report_contains_no_output() {
        let report = report();
        assert!(!report.summary().contains("last words"));
    }

    #[test]
    fn a_report_survives_json() {
        let report = report();
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains(r#""readyAfterMs":400"#) && text.contains(r#""reason":"stop""#), "{text}");
        assert_eq!(serde_json::from_str::<ExitReport>(&text).unwrap(), report);
    }
}
