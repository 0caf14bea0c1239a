//! When periodic work is due: at instants that all sidecars of this process share, so that a process with many sidecars wakes as rarely as
//! one with a single sidecar.

use std::{sync::OnceLock, time::Duration};

use tokio::time::Instant;

/// The multiples of any interval, counted from a common zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommonTicks {
    zero: Instant,
}

impl CommonTicks {
    /// Those of this process, which begin with the first call.
    pub(crate) fn of_this_process() -> Self {
        static ZERO: OnceLock<Instant> = OnceLock::new();
        Self::since(*ZERO.get_or_init(Instant::now))
    }

    pub(crate) fn since(zero: Instant) -> Self {
        Self { zero }
    }

    /// The first multiple of `interval` that is not before `earliest`.
    pub(crate) fn next(self, earliest: Instant, interval: Duration) -> Instant {
        let beyond = (earliest - self.zero).as_nanos() % interval.as_nanos().max(1);
        let missing = if beyond == 0 { 0 } else { interval.as_nanos() - beyond };
        // At most one interval, which fits unless it is longer than 500 years.
        earliest + u64::try_from(missing).map_or(interval, Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_a_multiple_of_the_interval() {
        let zero = Instant::now();
        let ticks = CommonTicks { zero };
        for (earliest, interval, expected) in
            [(0, 10, 0), (1, 10, 10), (10, 10, 10), (11, 10, 20), (29, 15, 30), (31, 15, 45), (1, 1000, 1000)]
        {
            let [earliest, interval, expected] = [earliest, interval, expected].map(Duration::from_secs);
            assert_eq!(ticks.next(zero + earliest, interval) - zero, expected, "{earliest:?} {interval:?}");
        }
    }
}
