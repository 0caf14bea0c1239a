//! Whether the processes of a run use more memory than their declaration allows.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use crate::sys::{Group, ProcessTree, on_thread};

/// The time between two measurements.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same near the limit.
const INTERVAL_NEAR_LIMIT: Duration = Duration::from_secs(1);
/// The share of the limit from which on it is measured more often, in percent.
const NEAR_PERCENT: u8 = 75;
/// The share of the limit that is worth a notice, in percent.
const NOTICE_PERCENT: u8 = 90;
/// After how many measurements in a row without a figure the limit counts as without effect.
const UNKNOWN_LIMIT: u32 = 3;

/// How much memory a run uses, and how much it may use, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryUse {
    pub(crate) used: u64,
    pub(crate) limit: u64,
}

/// What is worth to be known about the memory of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryFinding {
    NearLimit(MemoryUse),
    /// Two measurements in a row have reached the limit: one alone may have met a peak, or processes that share little for a moment, as after
    /// fork(2) and before execve(2).
    Exceeded(MemoryUse),
    /// The system does not tell it.
    Unknown,
}

/// Measures the memory of a run from time to time.
pub(crate) struct MemoryMonitor {
    group: Weak<Group>,
    judge: Judge,
    next: Pin<Box<dyn Future<Output = Option<u64>> + Send>>,
}

impl MemoryMonitor {
    /// `None` if this system tells no memory.
    pub(crate) fn new(group: &Arc<Group>, limit: u64) -> Option<Self> {
        let group = Arc::downgrade(group);
        ProcessTree::is_measured().then(|| Self {
            next: Box::pin(measure(group.clone(), INTERVAL)),
            judge: Judge::new(limit),
            group,
        })
    }

    /// Waits until there is something to know. Cancel-safe.
    pub(crate) async fn next(&mut self) -> MemoryFinding {
        loop {
            let used = (&mut self.next).await;
            let (finding, interval) = self.judge.judge(used);
            self.next = Box::pin(measure(self.group.clone(), interval));
            if let Some(finding) = finding {
                return finding;
            }
        }
    }
}

impl MemoryUse {
    /// Whether it has reached this share of the limit, in percent.
    fn is_beyond(self, percent: u8) -> bool {
        u128::from(self.used) * 100 >= u128::from(self.limit) * u128::from(percent)
    }
}

/// What the measurements so far mean.
struct Judge {
    limit: u64,
    /// Whether the last measurement has reached the limit.
    has_reached: bool,
    /// How many measurements in a row had no figure.
    unknown: u32,
}

impl Judge {
    fn new(limit: u64) -> Self {
        Self { limit, has_reached: false, unknown: 0 }
    }

    /// What the next measurement means, and when to measure again.
    fn judge(&mut self, used: Option<u64>) -> (Option<MemoryFinding>, Duration) {
        let Some(used) = used else {
            self.has_reached = false;
            self.unknown = self.unknown.saturating_add(1);
            return ((self.unknown == UNKNOWN_LIMIT).then_some(MemoryFinding::Unknown), INTERVAL);
        };
        self.unknown = 0;
        let memory = MemoryUse { used, limit: self.limit };
        let had_reached = std::mem::replace(&mut self.has_reached, memory.is_beyond(100));
        let finding = if had_reached && self.has_reached {
            Some(MemoryFinding::Exceeded(memory))
        } else {
            memory.is_beyond(NOTICE_PERCENT).then_some(MemoryFinding::NearLimit(memory))
        };
        (finding, if memory.is_beyond(NEAR_PERCENT) { INTERVAL_NEAR_LIMIT } else { INTERVAL })
    }
}

async fn measure(group: Weak<Group>, after: Duration) -> Option<u64> {
    loop {
        tokio::time::sleep(after).await;
        let Some(tree) = group.upgrade().map(|group| group.tree()) else { continue };
        // Without a thread it is measured the next time.
        if let Some(usage) = on_thread(move || tree.usage()).await {
            return usage.memory.map(|(bytes, _)| bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_limit_is_reached_exactly() {
        let memory = |used| MemoryUse { used, limit: 200 };
        assert!(!memory(179).is_beyond(90) && memory(180).is_beyond(90));
        assert!(!memory(199).is_beyond(100) && memory(200).is_beyond(100));
        assert!(MemoryUse { used: u64::MAX, limit: u64::MAX }.is_beyond(100));
    }

    #[test]
    fn the_limit_counts_only_when_it_is_reached_twice_in_a_row() {
        let memory = |used| MemoryUse { used, limit: 200 };
        let near = |used| (Some(MemoryFinding::NearLimit(memory(used))), INTERVAL_NEAR_LIMIT);
        let mut judge = Judge::new(200);
        assert_eq!(judge.judge(Some(149)), (None, INTERVAL));
        assert_eq!(judge.judge(Some(150)), (None, INTERVAL_NEAR_LIMIT));
        for used in [180, 200, 199, 300] {
            assert_eq!(judge.judge(Some(used)), near(used));
        }
        assert_eq!(judge.judge(None), (None, INTERVAL));
        assert_eq!(judge.judge(Some(200)), near(200));
        let exceeded = MemoryFinding::Exceeded(memory(201));
        assert_eq!(judge.judge(Some(201)), (Some(exceeded), INTERVAL_NEAR_LIMIT));
    }

    #[test]
    fn one_figure_that_is_missing_does_not_make_the_limit_useless() {
        let mut judge = Judge::new(200);
        let unknown = (Some(MemoryFinding::Unknown), INTERVAL);
        for used in [None, None, Some(1), None, None] {
            assert_eq!(judge.judge(used), (None, INTERVAL));
        }
        assert_eq!(judge.judge(None), unknown);
        assert_eq!(judge.judge(None), (None, INTERVAL), "once");
    }
}
