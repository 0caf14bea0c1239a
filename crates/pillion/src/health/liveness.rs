//! Whether a sidecar that was ready still answers: hung is one that leaves several questions unanswered, never one that
//! is merely slow.

use std::time::Duration;

use pillion_protocol::health::HealthReport;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    health::probe::{NotReady, Probe},
    spec::Liveness,
};

/// The questions to one sidecar, and the count of those that came to nothing.
#[derive(Debug)]
pub(crate) struct LivenessMonitor {
    probe: Probe,
    interval: Duration,
    tolerance: usize,
    /// When the next question is due.
    due: Instant,
    /// Questions that may still be answered.
    open: JoinSet<Result<HealthReport, NotReady>>,
    /// Questions since the last answer that never will be.
    failed: usize,
}

/// What was learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LivenessResult {
    /// It answers as it should.
    Healthy,
    /// It does not; or not so far, where nothing else is known.
    Degraded(Option<NotReady>),
    /// It has answered nothing for too long.
    Hung,
}

impl LivenessMonitor {
    /// Starts to watch; the first question is due after one interval.
    pub(crate) fn new(probe: Probe, liveness: Liveness) -> Self {
        // A pulse without a pause would do nothing else.
        let interval = liveness.interval.max(Duration::from_millis(1));
        let tolerance = liveness.tolerance.max(1) as usize;
        Self { probe, interval, tolerance, due: Instant::now() + interval, open: JoinSet::new(), failed: 0 }
    }

    /// Waits until something is learnt. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> LivenessResult {
        loop {
            let beat = tokio::select! {
                // Answers first: one that came while this program did not run counts.
                biased;
                Some(answer) = self.open.join_next() => answer.ok().and_then(|answer| self.hear(answer)),
                () = tokio::time::sleep_until(self.due) => self.ask(),
            };
            if let Some(beat) = beat {
                return beat;
            }
        }
    }

    fn hear(&mut self, answer: Result<HealthReport, NotReady>) -> Option<LivenessResult> {
        match answer {
            Ok(_) => {
                self.forget();
                Some(LivenessResult::Healthy)
            }
            Err(why @ NotReady::Status(_)) => {
                // It is alive enough to say so.
                self.forget();
                Some(LivenessResult::Degraded(Some(why)))
            }
            // Our own trouble says nothing about the sidecar.
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
            // This program did not run, as while the computer sleeps: the sidecar did not either.
            self.forget();
        }
        let unanswered = self.open.len() + self.failed;
        // Asked on all the same, so that one that is left alone is seen to come to itself.
        if self.open.len() < self.tolerance {
            let probe = self.probe.clone();
            self.open.spawn(async move { probe.ask().await });
        }
        match unanswered {
            0 => None,
            some if some < self.tolerance => Some(LivenessResult::Degraded(None)),
            _ => Some(LivenessResult::Hung),
        }
    }

    fn forget(&mut self) {
        self.open.abort_all();
        self.open = JoinSet::new();
        self.failed = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    /// A pulse of a server whose connections are made by the kernel and answered by nobody. Time stands still but for
    /// what is waited for.
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
    async fn silence_is_death_when_three_questions_are_open_and_the_fourth_is_due() {
        let (_listener, mut pulse) = silent();
        let start = Instant::now();
        assert_eq!(pulse.next().await, LivenessResult::Degraded(None));
        assert_eq!(pulse.next().await, LivenessResult::Degraded(None));
        assert_eq!(pulse.next().await, LivenessResult::Hung);
        assert_eq!(start.elapsed().as_secs(), 4 * INTERVAL.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_did_not_run_does_not_blame_the_other() {
        let (_listener, mut pulse) = silent();
        assert_eq!(pulse.next().await, LivenessResult::Degraded(None));
        assert_eq!(pulse.next().await, LivenessResult::Degraded(None));
        // The computer sleeps for an hour.
        tokio::time::advance(Duration::from_secs(3600)).await;
        for beat in [LivenessResult::Degraded(None), LivenessResult::Degraded(None), LivenessResult::Hung] {
            assert_eq!(pulse.next().await, beat);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_count_as_silence_does() {
        let (listener, mut pulse) = silent();
        drop(listener);
        let refused =
            |beat: LivenessResult| matches!(beat, LivenessResult::Degraded(Some(NotReady::Unreachable(_))));
        assert!(refused(pulse.next().await));
        loop {
            match pulse.next().await {
                LivenessResult::Hung => break,
                beat => assert!(refused(beat.clone()) || beat == LivenessResult::Degraded(None), "{beat:?}"),
            }
        }
    }
}
