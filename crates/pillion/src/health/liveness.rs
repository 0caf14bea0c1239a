//! The liveness check of a ready sidecar. A sidecar hangs when several health requests stay unanswered; slow answers count.

use std::time::Duration;

use pillion_protocol::health::HealthReport;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    health::probe::{NotReady, Probe},
    spec::Liveness,
};

/// Sends health requests at intervals, and counts the unanswered ones.
#[derive(Debug)]
pub(crate) struct LivenessMonitor {
    probe: Probe,
    interval: Duration,
    tolerance: usize,
    /// When the next request is due.
    due: Instant,
    /// Requests that may still be answered.
    pending: JoinSet<Result<HealthReport, NotReady>>,
    /// Failed requests since the last answer.
    failed: usize,
}

/// The result of a liveness check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LivenessResult {
    /// The sidecar answers 2xx.
    Healthy,
    /// The sidecar answers with an error, fails to answer, or has not answered yet (`None`).
    Degraded(Option<NotReady>),
    /// The sidecar has answered nothing for too long.
    Hung,
}

impl LivenessMonitor {
    /// Starts the check. The first request is due after one interval.
    pub(crate) fn new(probe: Probe, liveness: Liveness) -> Self {
        // A zero interval would busy-loop.
        let interval = liveness.interval.max(Duration::from_millis(1));
        let tolerance = liveness.tolerance.max(1) as usize;
        Self {
            probe,
            interval,
            tolerance,
            due: Instant::now() + interval,
            pending: JoinSet::new(),
            failed: 0,
        }
    }

    /// Waits for the next result. Cancel-safe.
    pub(crate) async fn next(&mut self) -> LivenessResult {
        loop {
            let result = tokio::select! {
                // Answers first: an answer that came while this process did not run counts.
                biased;
                Some(answer) = self.pending.join_next() => answer.ok().and_then(|answer| self.receive(answer)),
                () = tokio::time::sleep_until(self.due) => self.ask(),
            };
            if let Some(result) = result {
                return result;
            }
        }
    }

    fn receive(&mut self, answer: Result<HealthReport, NotReady>) -> Option<LivenessResult> {
        match answer {
            Ok(_) => {
                self.reset();
                Some(LivenessResult::Healthy)
            }
            Err(why @ NotReady::Status(_)) => {
                // An error status is an answer, too.
                self.reset();
                Some(LivenessResult::Degraded(Some(why)))
            }
            // A lack of resources in this process says nothing about the sidecar.
            Err(NotReady::Unable(_)) => None,
            Err(why) => {
                self.failed += 1;
                Some(LivenessResult::Degraded(Some(why)))
            }
        }
    }

    fn ask(&mut self) -> Option<LivenessResult> {
        let (now, due) = (Instant::now(), self.due);
        self.due = now + self.interval;
        if now - due > self.interval / 2 {
            // This process did not run, for example because the computer slept; neither did the sidecar.
            self.reset();
        }
        let unanswered = self.pending.len() + self.failed;
        // Requests go on after a hang, so that the recovery of a sidecar that is not restarted is noticed.
        if self.pending.len() < self.tolerance {
            let probe = self.probe.clone();
            self.pending.spawn(async move { probe.ask().await });
        }
        match unanswered {
            0 => None,
            some if some < self.tolerance => Some(LivenessResult::Degraded(None)),
            _ => Some(LivenessResult::Hung),
        }
    }

    fn reset(&mut self) {
        self.pending.abort_all();
        self.pending = JoinSet::new();
        self.failed = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    /// The liveness monitor of a server that never accepts: the kernel completes its connections. The clock is paused and advances
    /// only to the next timer.
    fn silent() -> (TcpListener, LivenessMonitor) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = std::num::NonZeroU16::new(listener.local_addr().unwrap().port()).unwrap();
        let probe = Probe {
            connector: crate::transport::connector::Connector::Tcp(port),
            path: "/health".to_owned(),
            instance: None,
            token: None,
            run: None,
        };
        (listener, LivenessMonitor::new(probe, Liveness { interval: INTERVAL, tolerance: 3 }))
    }

    #[tokio::test(start_paused = true)]
    async fn three_unanswered_requests_mean_hung_when_the_fourth_is_due() {
        let (_listener, mut monitor) = silent();
        let start = Instant::now();
        assert_eq!(monitor.next().await, LivenessResult::Degraded(None));
        assert_eq!(monitor.next().await, LivenessResult::Degraded(None));
        assert_eq!(monitor.next().await, LivenessResult::Hung);
        assert_eq!(start.elapsed().as_secs(), 4 * INTERVAL.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_this_process_did_not_run_does_not_count() {
        let (_listener, mut monitor) = silent();
        assert_eq!(monitor.next().await, LivenessResult::Degraded(None));
        assert_eq!(monitor.next().await, LivenessResult::Degraded(None));
        // The computer sleeps for an hour.
        tokio::time::advance(Duration::from_secs(3600)).await;
        for result in [LivenessResult::Degraded(None), LivenessResult::Degraded(None), LivenessResult::Hung] {
            assert_eq!(monitor.next().await, result);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refused_connections_count_as_unanswered() {
        let (listener, mut monitor) = silent();
        drop(listener);
        let refused = |result: LivenessResult| {
            matches!(result, LivenessResult::Degraded(Some(NotReady::Unreachable(_))))
        };
        assert!(refused(monitor.next().await));
        loop {
            match monitor.next().await {
                LivenessResult::Hung => break,
                result => {
                    assert!(refused(result.clone()) || result == LivenessResult::Degraded(None), "{result:?}")
                }
            }
        }
    }
}
