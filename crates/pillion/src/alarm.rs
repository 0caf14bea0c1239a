//! A timer for a task that waits for many things in turn.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that lasts from one wait to the next. One that is new for each wait would wake the thread that waits for all timers, twice
/// for each piece of output.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Waits until this time; without one, for ever. Cancel-safe.
    pub(crate) async fn wait(&mut self, until: Option<Instant>) {
        let Some(until) = until else {
            self.0 = None;
            return std::future::pending().await;
        };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(until)));
        while Instant::now() < until {
            // One that rings too early is set again then.
            if sleep.deadline() > until || sleep.is_elapsed() {
                sleep.as_mut().reset(until);
            }
            sleep.as_mut().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_time_of_the_last_wait() {
        let (mut alarm, begun) = (Alarm::default(), Instant::now());
        let after = |seconds| begun + Duration::from_secs(seconds);
        let short = Duration::from_secs(1);
        for (until, elapsed) in [(60, 1), (10, 2), (30, 3)] {
            // Given up before it rings, and set anew.
            assert!(tokio::time::timeout(short, alarm.wait(Some(after(until)))).await.is_err());
            assert_eq!(begun.elapsed().as_secs(), elapsed);
        }
        alarm.wait(Some(after(30))).await;
        assert_eq!(begun.elapsed().as_secs(), 30);
        alarm.wait(Some(after(20))).await;
        assert_eq!(begun.elapsed().as_secs(), 30);
        assert!(tokio::time::timeout(short, alarm.wait(None)).await.is_err());
        alarm.wait(Some(after(40))).await;
        assert_eq!(begun.elapsed().as_secs(), 40);
    }
}
