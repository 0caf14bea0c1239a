//! The file of a run that has not ended yet, from which the next start of the app concludes how the run has ended.
//!
//! The first line is [`Head`], in JSON. The app and, after the app's death, the guard append lines of the form `MS WORD ARGUMENT…`,
//! with the time in milliseconds since the Unix epoch:
//!
//! | line | written by | meaning |
//! | --- | --- | --- |
//! | `pid PID RUN` | the app | the process runs; it is this run of the sidecar |
//! | `ready MS` | the app | it was ready so long after its start |
//! | `exited CODE`, `signalled NUMBER`, with ` core` after a core dump | the guard | the first process has ended |
//! | `alone` | the guard | the app died |
//! | `killed leader`, `killed rest` | the guard | the grace period was over; whether the first process still lived |
//! | `used MICROSECONDS BYTES` | the guard | processor time of all processes, and the largest resident set of one |
//! | `gone` | the guard | no process is left |
//!
//! Without lines of the guard, only the end itself is certain: the guard was killed as well, or there was none (Windows).

use serde::{Deserialize, Serialize};

use crate::{
    report::exit_report::{EndReason, ExitReport, Killed},
    status::{Exit, KillReason},
};

/// What is known about a run when it is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    pub(crate) sidecar: String,
    pub(crate) started_at: u64,
    pub(crate) restarts: u32,
}

/// The report about a run whose app has died, from its file. `None` if the file is not one of a run.
pub(super) fn conclude(text: &str) -> Option<ExitReport> {
    let (head, lines) = text.split_once('\n')?;
    let Head { sidecar, started_at, restarts } = serde_json::from_str(head).ok()?;
    let mut report = ExitReport {
        sidecar,
        run: 0,
        pid: None,
        started_at,
        ended_at: None,
        lifetime_ms: None,
        ready_after_ms: None,
        exit: None,
        reason: EndReason::AppDeath,
        message: None,
        killed: None,
        core_dumped: None,
        peak_memory: None,
        cpu_time_ms: None,
        left: Vec::new(),
        restarts,
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    // The last line may be cut: the machine has lost its power, for example. A line that this version does not know says nothing.
    for line in lines.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let _ = report.add(line);
    }
    Some(report)
}

impl ExitReport {
    /// Why it has ended by itself, if its first process has ended.
    fn own_reason(&self) -> Option<EndReason> {
        let exit = self.exit?;
        Some(match self.ready_after_ms {
            None => EndReason::ExitedEarly,
            Some(_) if exit.is_success() => EndReason::Finished,
            Some(_) => EndReason::Crashed,
        })
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let at: u64 = words.next()?.parse().ok()?;
        match words.next()? {
            "pid" => {
                self.pid = Some(words.next()?.parse().ok()?);
                self.run = words.next()?.parse().ok()?;
            }
            "ready" => self.ready_after_ms = Some(words.next()?.parse().ok()?),
            word @ ("exited" | "signalled") => {
                let number = words.next()?.parse().ok()?;
                let exit = if word == "exited" { Exit::with_code(number) } else { Exit::with_signal(number) };
                self.exit = Some(exit);
                self.core_dumped = Some(words.next() == Some("core"));
                self.ended_at = Some(at);
                self.lifetime_ms = Some(at.saturating_sub(self.started_at));
            }
            "killed" => {
                let leader = words.next()? == "leader";
                self.killed.get_or_insert(Killed { why: KillReason::GraceOver, leader, survived: false });
            }
            // It had ended before the app did, which made no report of it any more.
            "alone" => self.reason = self.own_reason().unwrap_or(EndReason::AppDeath),
            "used" => {
                let micros: u64 = words.next()?.parse().ok()?;
                self.cpu_time_ms = Some(micros / 1000);
                self.peak_memory = words.next()?.parse().ok();
            }
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"sidecar":"backend","startedAt":1000,"restarts":1}"#;

    #[test]
    fn memory_that_is_not_known_is_none() {
        let report = conclude(&format!("{HEAD}\n5001 exited 0\n5002 used 250000 -\n5003 gone\n")).unwrap();
        assert_eq!((report.cpu_time_ms, report.peak_memory), (Some(250), None));
        assert_eq!(report.exit, Some(Exit::with_code(0)));
    }

    #[test]
    fn the_lines_of_app_and_guard_become_a_report() {
        let text = format!(
            "{HEAD}\n1001 pid 4711 2\n1400 ready 390\n5000 killed leader\n5001 signalled 11 core\n5002 used 250000 4096\n5003 gone\n"
        );
        let report = conclude(&text).unwrap();
        assert_eq!((report.run, report.pid, report.restarts), (2, Some(4711), 1));
        assert_eq!(
            (report.ready_after_ms, report.ended_at, report.lifetime_ms),
            (Some(390), Some(5001), Some(4001))
        );
        assert_eq!((report.exit, report.core_dumped), (Some(Exit::with_signal(11)), Some(true)));
        assert_eq!((report.cpu_time_ms, report.peak_memory), (Some(250), Some(4096)));
        assert_eq!(report.killed, Some(Killed { why: KillReason::GraceOver, leader: true, survived: false }));
        assert_eq!(report.reason, EndReason::AppDeath);
    }

    #[test]
    fn a_run_that_ended_before_the_app_did_ended_by_itself() {
        let concluded = |lines: &str| conclude(&format!("{HEAD}\n1001 pid 4711 2\n{lines}")).unwrap().reason;
        let (ready, exited) = ("1400 ready 390\n", "\n5000 exited 3\n");
        assert_eq!(concluded(&format!("{ready}{exited}5001 alone\n")), EndReason::Crashed);
        assert_eq!(concluded(&format!("{ready}\n5000 exited 0\n5001 alone\n")), EndReason::Finished);
        assert_eq!(concluded(&format!("{exited}5001 alone\n")), EndReason::ExitedEarly);
        assert_eq!(concluded(&format!("{ready}\n4999 alone{exited}")), EndReason::AppDeath);
    }

    #[test]
    fn a_run_whose_end_was_not_seen_has_no_exit() {
        let report = conclude(&format!("{HEAD}\n1001 pid 4711 2\n1400 rea")).unwrap();
        assert_eq!(
            (report.pid, report.ready_after_ms, report.exit, report.ended_at),
            (Some(4711), None, None, None)
        );
    }

    #[test]
    fn any_other_file_is_no_run() {
        for text in ["", "\n", HEAD, "{}\n1 pid 2\n", "\u{0}\u{0}\n"] {
            assert_eq!(conclude(text), None, "{text:?}");
        }
        assert!(conclude(&format!("{HEAD}\nnonsense\n1 pid x\n2 exited\n3 later word\n")).is_some());
    }
}
