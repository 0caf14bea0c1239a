//! The watchdog of a run that speaks `sd_notify(3)`: it must send `WATCHDOG=1` within each interval.

use std::time::Duration;

use tokio::time::Instant;

use crate::health::hang_reason::HangReason;

/// A shorter delay of this process is one of the scheduler and the clock, whatever the interval.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Counts the time since the last `WATCHDOG=1` of a ready run.
#[derive(Debug)]
pub(crate) struct Watchdog {
    interval: Duration,
    stage: Stage,
    /// Whether the run has sent `WATCHDOG=1` since it is watched.
    kept_alive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A message is due at this time; `None` if that is later than the clock can express.
    Counting(Option<Instant>),
    /// None came in time, as far as the driver has read the messages.
    Overdue,
    /// None came in time. The next one counts again.
    Missed,
}

impl Watchdog {
    /// The first message is due after one interval.
    pub(crate) fn new(interval: Duration) -> Self {
        let mut watchdog = Self { interval, stage: Stage::Missed, kept_alive: false };
        watchdog.restart();
        watchdog
    }

    /// A message came: the next one is due after another interval.
    pub(crate) fn keep_alive(&mut self) {
        self.kept_alive = true;
        self.restart();
    }

    /// The next message is due after this interval from now.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
        self.restart();
    }

    /// Waits until a message is overdue. Cancel-safe.
    pub(crate) async fn overdue(&self) {
        match self.stage {
            Stage::Counting(Some(due)) => tokio::time::sleep_until(due).await,
            Stage::Counting(None) | Stage::Overdue | Stage::Missed => std::future::pending().await,
        }
    }

    /// A message is overdue. Returns whether the unread messages decide; [`caught_up`](Self::caught_up) takes their answer.
    pub(crate) fn on_due(&mut self) -> bool {
        let Stage::Counting(Some(due)) = self.stage else { return false };
        if Instant::now() - due > (self.interval / 2).max(SHORTEST_PAUSE) {
            // This process did not run, for example because a debugger held it: perhaps the run did not, either.
            self.restart();
            return false;
        }
        self.stage = Stage::Overdue;
        true
    }

    /// Every message was read that had been sent when one was overdue. Returns the verdict if none was a `WATCHDOG=1`.
    pub(crate) fn caught_up(&mut self) -> Option<HangReason> {
        if self.stage != Stage::Overdue {
            return None;
        }
        self.stage = Stage::Missed;
        Some(HangReason::WatchdogMissed { interval: self.interval, kept_alive: self.kept_alive })
    }

    fn restart(&mut self) {
        self.stage = Stage::Counting(Instant::now().checked_add(self.interval));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    async fn overdue_after(watchdog: &Watchdog) -> Duration {
        let start = Instant::now();
        watchdog.overdue().await;
        Instant::now() - start
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_due_one_interval_after_the_last_one() {
        let mut watchdog = Watchdog::new(INTERVAL);
        tokio::time::advance(INTERVAL / 2).await;
        watchdog.keep_alive();
        assert_eq!(overdue_after(&watchdog).await, INTERVAL);
        assert!(watchdog.on_due());
        assert_eq!(
            watchdog.caught_up(),
            Some(HangReason::WatchdogMissed { interval: INTERVAL, kept_alive: true })
        );
        assert_eq!(watchdog.caught_up(), None, "one verdict for each silence");
        watchdog.keep_alive();
        assert_eq!(overdue_after(&watchdog).await, INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_was_sent_in_time_and_read_later_counts() {
        let mut watchdog = Watchdog::new(INTERVAL);
        watchdog.overdue().await;
        assert!(watchdog.on_due());
        watchdog.keep_alive();
        assert_eq!(watchdog.caught_up(), None);
        assert_eq!(overdue_after(&watchdog).await, INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_this_process_does_not_count_against_the_run() {
        let mut watchdog = Watchdog::new(INTERVAL);
        tokio::time::advance(Duration::from_secs(3600)).await;
        watchdog.overdue().await;
        assert!(!watchdog.on_due());
        assert_eq!(overdue_after(&watchdog).await, INTERVAL);
        assert!(watchdog.on_due());
        assert_eq!(
            watchdog.caught_up(),
            Some(HangReason::WatchdogMissed { interval: INTERVAL, kept_alive: false })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_that_is_shorter_than_the_clock_ticks_is_missed() {
        let mut watchdog = Watchdog::new(Duration::from_micros(1));
        watchdog.overdue().await;
        tokio::time::advance(SHORTEST_PAUSE / 2).await;
        assert!(watchdog.on_due());
        assert!(watchdog.caught_up().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_that_the_clock_cannot_express_never_ends() {
        let watchdog = Watchdog::new(Duration::MAX);
        let waited = tokio::time::timeout(Duration::from_secs(1 << 30), watchdog.overdue()).await;
        assert!(waited.is_err());
    }
}
