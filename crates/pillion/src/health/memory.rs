//! Whether the processes of a run use more memory than their declaration allows.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use crate::sys::{Group, on_thread};

/// The time between two measurements.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same near the limit.
const INTERVAL_NEAR_LIMIT: Duration = Duration::from_secs(1);

/// How much memory a run uses, and how much it may use, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryUse {
    pub(crate) used: u64,
    pub(crate) limit: u64,
}

/// Measures the memory of a run from time to time.
pub(crate) struct MemoryMonitor {
    group: Weak<Group>,
    limit: u64,
    next: Pin<Box<dyn Future<Output = Option<u64>> + Send>>,
}

impl MemoryMonitor {
    pub(crate) fn new(group: &Arc<Group>, limit: u64) -> Self {
        let group = Arc::downgrade(group);
        Self { next: Box::pin(measure(group.clone(), INTERVAL)), group, limit }
    }

    /// Waits for the next measurement. `None` if the system does not tell the memory. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<MemoryUse> {
        let used = (&mut self.next).await;
        let measured = used.map(|used| MemoryUse { used, limit: self.limit });
        let near = measured.is_some_and(|memory| memory.is_beyond(75));
        let interval = if near { INTERVAL_NEAR_LIMIT } else { INTERVAL };
        self.next = Box::pin(measure(self.group.clone(), interval));
        measured
    }
}

impl MemoryUse {
    /// Whether it has reached this share of the limit, in percent.
    pub(crate) fn is_beyond(self, percent: u8) -> bool {
        u128::from(self.used) * 100 >= u128::from(self.limit) * u128::from(percent)
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
}
