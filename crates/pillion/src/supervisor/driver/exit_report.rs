//! Reports the end of a run.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{Driver, Pending};
use crate::{
    health::hang_reason::HangReason,
    report::{
        events::SidecarEvent,
        exit_report::{EndReason, ExitReport, Killed},
        level::Level,
        messages::{self, StartDiagnostics},
    },
    state::{Cause, Ending, Lifecycle, Requester, StopStage},
    status::FailureKind,
    status::OutputStream,
    sys::{Used, on_thread},
};

/// How long the end of a sidecar waits for its files: a disk that hangs must not keep the app from ending.
const SAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How many characters of a line a report has at most.
const LINE_CHARACTERS: usize = 1000;

impl Driver {
    /// Whether exit reports are being written to files.
    pub(crate) fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// Reports the end of the run, if it had a process. `gone` is false if a process was left behind.
    pub(super) fn report_end(&mut self, ending: Ending, gone: bool) {
        let Some(process) = &self.run.process else { return };
        let (used, core_dumped) = (process.group.used(), process.group.core_dumped());
        let report = Arc::new(self.exit_report(ending, gone, used, core_dumped));
        if report.is_notable() {
            tracing::warn!(sidecar = report.sidecar, run = report.run, "{}", report.summary());
        } else {
            tracing::info!(sidecar = report.sidecar, run = report.run, "{}", report.summary());
        }
        self.reports.add(Arc::clone(&report));
        self.recorder.publish(SidecarEvent::Ended(Arc::clone(&report)));
        self.save(report);
    }

    fn exit_report(&self, ending: Ending, gone: bool, used: Used, core_dumped: Option<bool>) -> ExitReport {
        let run = &self.run;
        let reason = reason(&ending.cause, &run.diagnostics);
        let killed = ending.kill_reason.map(|why| Killed {
            why,
            leader: ending.stage == StopStage::KilledLeader,
            survived: !gone,
        });
        let exit = ending.exit;
        let failure = messages::failure(&Lifecycle::Ending(ending), &self.spec, &run.diagnostics, Vec::new);
        ExitReport {
            sidecar: self.spec.name.clone(),
            run: run.ordinal,
            pid: run.pid,
            started_at: run.started_at,
            ended_at: run.ended_at,
            lifetime_ms: run.diagnostics.lived.map(millis),
            ready_after_ms: run.ready_after.map(millis),
            exit,
            reason,
            message: failure
                .filter(|failure| failure.kind != FailureKind::Stopped)
                .map(|failure| run.without_token(failure.message)),
            killed,
            core_dumped,
            peak_memory: used.peak_memory.or(run.peak_memory),
            cpu_time_ms: used.cpu_time.map(millis),
            left: run.left.clone(),
            restarts: run.restarts,
            stdout: self.last_lines(OutputStream::Stdout),
            stderr: self.last_lines(OutputStream::Stderr),
        }
    }

    fn last_lines(&self, stream: OutputStream) -> Vec<String> {
        let lines = self.run.tail.last_of(stream, ExitReport::LINES);
        lines.into_iter().map(|line| cut(self.run.without_token(line), LINE_CHARACTERS)).collect()
    }

    /// Writes to the log that no process was started: nothing else would show it after the end of the app.
    pub(super) fn log_failed_start(&mut self, why: &str) {
        let Some(log) = self.recorder.file().cloned() else { return };
        log.note(self.recorder.runs(), Level::Warn, format!("{} {why}", self.spec.name));
        let (before, until) = (self.saving.take(), Instant::now() + SAVE_TIMEOUT);
        self.saving = Some(Box::pin(async move {
            let nothing = std::future::ready(Ok(()));
            // An error is impossible: no report is saved.
            let _ = save_until(until, before, async move { log.flush(until).await }, nothing).await;
        }));
    }

    /// Writes the report to its file on another thread, after those that are being written, and the log to its end.
    fn save(&mut self, report: Arc<ExitReport>) {
        let (file, log) = (self.run.file.take(), self.recorder.file().cloned());
        if let Some(log) = &log {
            let level = if report.is_notable() { Level::Warn } else { Level::Info };
            log.note(report.run, level, report.summary());
        }
        if file.is_none() && log.is_none() {
            return;
        }
        let (reports, before) = (self.reports.clone(), self.saving.take());
        let sidecar = self.spec.name.clone();
        let until = Instant::now() + SAVE_TIMEOUT;
        let flush = async move {
            if let Some(log) = log {
                log.flush(until).await;
            }
        };
        let write = async move {
            let Some(file) = file else { return Ok(()) };
            let saved = on_thread(move || reports.save(&file, &report)).await;
            saved.unwrap_or_else(|| Err(io::Error::other("the system allows no further thread")))
        };
        self.saving = Some(Box::pin(async move {
            if let Err(error) = save_until(until, before, flush, write).await {
                tracing::warn!(sidecar, %error, "an exit report is kept only in memory");
            }
        }));
    }
}

/// Waits for the reports before, and then for the log and the report, until this time at most. Those before have an earlier time.
async fn save_until(
    until: Instant,
    before: Option<Pending<()>>,
    flush: impl Future<Output = ()>,
    write: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    if let Some(before) = before {
        before.await;
    }
    let (_, saved) = tokio::join!(timeout_at(until, flush), timeout_at(until, write));
    saved.unwrap_or_else(|_| Err(io::Error::other("the disk is too slow")))
}

pub(super) fn reason(cause: &Cause, diagnostics: &StartDiagnostics) -> EndReason {
    let out_of_memory = diagnostics.out_of_memory.is_some();
    match cause {
        Cause::Requested(Requester::Stop) => EndReason::Stop,
        Cause::Requested(Requester::Kill) => EndReason::Kill,
        Cause::Requested(Requester::Restart) => EndReason::Restart,
        Cause::Requested(Requester::Swap) => EndReason::Swap,
        Cause::Requested(Requester::CancelledSwap) => EndReason::SwapCancelled,
        Cause::Requested(Requester::Update) => EndReason::Update,
        Cause::Requested(Requester::AppEnd) => EndReason::AppEnd,
        Cause::DependencyRestarted(_) => EndReason::Dependency,
        Cause::Unused => EndReason::Unused,
        Cause::Finished => EndReason::Finished,
        Cause::Crashed | Cause::ExitedEarly(_) if out_of_memory => EndReason::OutOfMemory,
        Cause::Crashed => EndReason::Crashed,
        // Without a process, no run has ended.
        Cause::ExitedEarly(_) | Cause::NotLaunched(_) => EndReason::ExitedEarly,
        Cause::TimedOut(_) => EndReason::ReadyTimeout,
        Cause::Mismatch(_) => EndReason::Mismatch,
        Cause::MemoryExceeded => EndReason::MemoryLimit,
        Cause::Hung => match diagnostics.hang {
            Some(HangReason::WatchdogMissed { .. } | HangReason::WatchdogTriggered) => EndReason::Watchdog,
            Some(
                HangReason::Silent
                | HangReason::Refused
                | HangReason::WorkerEnded(_)
                | HangReason::BusyTooLong
                | HangReason::RequestTooLong,
            )
            | None => EndReason::Hung,
        },
    }
}

fn cut(mut line: String, characters: usize) -> String {
    if let Some((at, _)) = line.char_indices().nth(characters) {
        line.truncate(at);
        line.push('…');
    }
    line
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_ends_wait_for_a_disk_that_hangs_no_longer_than_one() {
        let begin = Instant::now();
        let mut saving: Option<Pending<()>> = None;
        for _ in 0..5 {
            let before = saving.take();
            let until = begin + SAVE_TIMEOUT;
            saving = Some(Box::pin(async move {
                save_until(until, before, pending(), pending()).await.unwrap_err();
            }));
        }
        saving.unwrap().await;
        assert_eq!(begin.elapsed(), SAVE_TIMEOUT);
    }
}
