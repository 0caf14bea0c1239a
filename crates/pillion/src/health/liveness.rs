//! Checks that a ready sidecar still answers, and tells a hung one from one that is slow, busy, or without its worker.
//!
//! | what the monitor sees | the verdict |
//! | --- | --- |
//! | an HTTP answer, however late | healthy, or degraded if the status is not 2xx |
//! | the server accepts the connection and closes it without an answer | degraded |
//! | no answer, and the run uses the processor | busy: degraded, up to [`Liveness::busy_limit`] |
//! | no answer, and the run has a request of a client to answer, or sends to a client | the same |
//! | no answer, and the run does not work | hung after `interval` × `tolerance` |
//! | refused connections, and the run does not work | hung after 5 probes, a second apart, or `tolerance` if that is more |
//! | no answer since a process that held the listening socket has ended, and the run does not work | the same |
//!
//! Linux tells how much a run works, which of its processes hold the listening socket, and what is under way on the connections of
//! a port. Elsewhere those rows never apply.

use std::time::Duration;

use pillion_protocol::health::HealthReport;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    health::common_ticks::CommonTicks,
    health::hang_reason::HangReason,
    health::not_ready::NotReady,
    health::open_probes::OpenProbes,
    health::probe::Probe,
    health::probe_span::in_span,
    spec::Liveness,
    sys::{Activity, Workers, on_thread},
};

/// The time between two probes once connections are refused or a worker has ended: such a server does not recover by itself.
const URGENT_INTERVAL: Duration = Duration::from_secs(1);
/// How many of these probes may stay unanswered.
const URGENT_TOLERANCE: u32 = 5;
/// A run that uses this part of the time between two probes on the processor is busy: one twentieth.
const BUSY_SHARE: u32 = 20;

/// Probes one run at intervals, and counts the probes without an answer.
#[derive(Debug)]
pub(crate) struct LivenessMonitor {
    probe: Probe,
    liveness: Liveness,
    ticks: CommonTicks,
    /// When the next probe is due.
    due: Instant,
    /// Probes that may still be answered.
    open: JoinSet<Result<HealthReport, NotReady>>,
    /// The ports of these probes.
    open_probes: OpenProbes,
    /// Whether a probe since the last answer has failed.
    failed: bool,
    /// The measurement that decides about the last probes: what the run does.
    work: JoinSet<Option<Activity>>,
    /// The last measurement.
    worked: Option<(Activity, Instant)>,
    /// When the first probe since the last answer was found unanswered.
    silent_since: Option<Instant>,
    /// How many times in a row no answer and no work was found, …
    idle: u32,
    /// … and when for the first time.
    idle_since: Option<Instant>,
    /// Why the sidecar is asked every second.
    urgent: Option<HangReason>,
    /// The processes that held the listening socket when the sidecar last answered after a start or a silence.
    workers: Option<Workers>,
}

/// What a probe, or the lack of its answer, shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LivenessResult {
    /// The sidecar answers 2xx.
    Healthy,
    /// The sidecar answers otherwise, or has not answered yet; the reason if one is known.
    Degraded(Option<NotReady>),
    /// The sidecar has not answered for too long.
    Hung(HangReason),
}

impl LivenessMonitor {
    /// The first probe is due at one of the common ticks: half an interval later at least, one and a half at most. Needs the context of a
    /// tokio runtime.
    pub(crate) fn new(probe: Probe, liveness: Liveness) -> Self {
        Self::at_ticks(probe, liveness, CommonTicks::of_this_process())
    }

    fn at_ticks(probe: Probe, liveness: Liveness, ticks: CommonTicks) -> Self {
        // A zero interval would busy-loop.
        let interval = liveness.interval.max(Duration::from_millis(1));
        let mut monitor = Self {
            probe,
            liveness: Liveness { interval, tolerance: liveness.tolerance.max(1), ..liveness },
            ticks,
            due: ticks.next(Instant::now() + interval / 2, interval),
            open: JoinSet::new(),
            open_probes: OpenProbes::default(),
            failed: false,
            work: JoinSet::new(),
            worked: None,
            silent_since: None,
            idle: 0,
            idle_since: None,
            urgent: None,
            workers: None,
        };
        monitor.watch_workers();
        monitor
    }

    /// Waits for the next result. Cancel safe: a caller may drop the future and call again.
    pub(crate) async fn next(&mut self) -> LivenessResult {
        loop {
            let result = tokio::select! {
                // Answers first: an answer that came while this process did not run counts.
                biased;
                Some(answer) = self.open.join_next() => answer.ok().and_then(|answer| self.on_answer(answer)),
                Some(work) = self.work.join_next() => self.judge(work.ok().flatten().unwrap_or_default()),
                pid = first_ended(self.workers.as_ref()) => {
                    self.workers = None;
                    self.hurry(HangReason::WorkerEnded(pid), Instant::now());
                    None
                }
                () = tokio::time::sleep_until(self.due) => self.on_due(),
            };
            if let Some(result) = result {
                return result;
            }
        }
    }

    /// Makes the next probe due.
    pub(crate) fn check_now(&mut self) {
        self.due = Instant::now();
    }

    fn on_answer(&mut self, answer: Result<HealthReport, NotReady>) -> Option<LivenessResult> {
        match answer {
            Ok(_) => {
                self.reset();
                Some(LivenessResult::Healthy)
            }
            // A server that answers with an error is alive. So is one that closes the connection: the system accepts
            // connections for a process that hangs, but does not close them.
            Err(why @ (NotReady::Status(_) | NotReady::NotHttp(_))) => {
                self.reset();
                Some(LivenessResult::Degraded(Some(why)))
            }
            // A failure of this process says nothing about the sidecar.
            Err(NotReady::Unable(_)) => None,
            Err(why) => {
                self.failed = true;
                if matches!(why, NotReady::Unreachable(_)) {
                    self.hurry(HangReason::Refused, Instant::now() + URGENT_INTERVAL);
                }
                Some(LivenessResult::Degraded(Some(why)))
            }
        }
    }

    fn on_due(&mut self) -> Option<LivenessResult> {
        let (now, due) = (Instant::now(), self.due);
        let interval = self.liveness.interval;
        self.due = match self.urgent {
            Some(_) => now + interval.min(URGENT_INTERVAL),
            // The next tick. If this one was found late, a later one: each probe has about an interval's time to be answered.
            None => self.ticks.next(now + interval - interval / 8, interval),
        };
        let paused = now - due > interval / 2;
        if paused {
            // This process did not run, for example while the computer slept: neither did the sidecar. The open probes go on:
            // on a machine that is always late, no answer would come in time otherwise.
            self.restart_count();
        }
        let unanswered = self.failed || !self.open.is_empty();
        // Probes go on, so that a sidecar that is not restarted is seen to recover.
        if self.open.len() < self.liveness.tolerance as usize {
            let (probe, open_probes) = (self.probe.clone(), self.open_probes.clone());
            self.open.spawn(async move { in_span(&probe.sidecar, probe.ask_noted(&open_probes)).await });
        }
        if paused || !unanswered {
            return None;
        }
        let Some(run) = self.probe.run else { return self.judge(Activity::default()) };
        if self.work.is_empty() {
            // The connections matter, and are looked at, only when the sidecar would otherwise count as hung.
            let decides = self.idle + 1 >= self.tolerance();
            let port = self.probe.connector.listen_addr().port().filter(|_| decides);
            let probes = self.open_probes.ports();
            // It reads /proc, which blocks.
            self.work.spawn(on_thread(move || run.activity(port, &probes)));
        }
        None
    }

    /// Decides about a sidecar that owes an answer, from what its run does.
    fn judge(&mut self, activity: Activity) -> Option<LivenessResult> {
        let now = Instant::now();
        let before = self.worked.replace((activity, now));
        if self.open.is_empty() && !self.failed {
            // This process failed to ask: no answer is owed.
            return None;
        }
        let silent_since = *self.silent_since.get_or_insert(now);
        let idle_since = *self.idle_since.get_or_insert(now);
        if let Some(reason) = busy(before, idle_since, activity, now) {
            self.idle_since = None;
            self.idle = 0;
            let exceeded = now - silent_since >= self.liveness.busy_limit;
            return Some(if exceeded {
                LivenessResult::Hung(reason)
            } else {
                LivenessResult::Degraded(None)
            });
        }
        self.idle += 1;
        // One measurement shows no work: with a tolerance of 1 it must not decide alone.
        let measured = activity.cpu_time.is_none() || before.is_some() || self.tolerance() > 1;
        let hung = self.idle >= self.tolerance() && measured;
        let reason = self.urgent.unwrap_or(HangReason::Silent);
        Some(if hung { LivenessResult::Hung(reason) } else { LivenessResult::Degraded(None) })
    }

    /// Asks every second from `due` on, because of `reason`. Processor time is measured anew from then on.
    fn hurry(&mut self, reason: HangReason, due: Instant) {
        if self.urgent.is_none() {
            (self.urgent, self.idle, self.idle_since) = (Some(reason), 0, None);
            self.due = self.due.min(due);
        }
    }

    fn tolerance(&self) -> u32 {
        let Liveness { interval, tolerance, .. } = self.liveness;
        let shortened = self.urgent.is_some() && interval > URGENT_INTERVAL;
        if shortened { tolerance.max(URGENT_TOLERANCE) } else { tolerance }
    }

    /// An answer came: no other one is owed.
    fn reset(&mut self) {
        // Dropping a set aborts its tasks.
        self.open = JoinSet::new();
        self.restart_count();
    }

    /// The count of unanswered probes starts again from 0.
    fn restart_count(&mut self) {
        self.work = JoinSet::new();
        (self.failed, self.worked, self.silent_since, self.urgent) = (false, None, None, None);
        (self.idle, self.idle_since) = (0, None);
        if self.workers.is_none() {
            self.watch_workers();
        }
    }

    /// Watches the processes that hold the listening socket, where the system tells which these are.
    fn watch_workers(&mut self) {
        if let (Some(run), Some(port)) = (self.probe.run, self.probe.connector.listen_addr().port()) {
            self.workers = Some(run.workers(port));
        }
    }
}

/// Whether the run has computed since the measurement before, has sent something since `idle_since`, or has a request to answer:
/// why it hangs if it stays so for too long.
fn busy(
    before: Option<(Activity, Instant)>,
    idle_since: Instant,
    activity: Activity,
    now: Instant,
) -> Option<HangReason> {
    let computes = before.is_some_and(|(before, at)| {
        let used = before.cpu_time.zip(activity.cpu_time).map(|(before, after)| after.saturating_sub(before));
        used.is_some_and(|used| used.saturating_mul(BUSY_SHARE) >= now - at)
    });
    let sends = activity.last_sent.is_some_and(|ago| ago < now - idle_since);
    if computes {
        Some(HangReason::BusyTooLong)
    } else {
        (activity.has_request || sends).then_some(HangReason::RequestTooLong)
    }
}

async fn first_ended(workers: Option<&Workers>) -> u32 {
    match workers {
        Some(workers) => workers.ended().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
