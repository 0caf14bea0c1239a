//! What the processes of a run use at one moment.

use std::time::Duration;

use crate::status::MemoryKind;

/// What all live processes of a run use, as far as the system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TreeUsage {
    /// The processor time of the run so far, user and system, of processes that have ended as well.
    pub(crate) cpu_time: Option<Duration>,
    /// In bytes, and what it counts.
    pub(crate) memory: Option<(u64, MemoryKind)>,
    pub(crate) processes: Option<u32>,
    /// The processors of the machine: no run can use more at the same time.
    pub(crate) processors: Option<u32>,
    pub(crate) descriptors: Option<u64>,
}

/// The processes of a run, on systems where nothing is measured yet.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct ProcessTree;

#[cfg(not(target_os = "linux"))]
impl ProcessTree {
    /// Whether [`usage`](Self::usage) tells anything here.
    pub(crate) fn is_measured() -> bool {
        false
    }

    #[expect(clippy::unused_self, reason = "the signature is the same on every system")]
    pub(crate) fn usage(self) -> TreeUsage {
        TreeUsage::default()
    }
}
