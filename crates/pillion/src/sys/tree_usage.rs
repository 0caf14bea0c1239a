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

/// Adds a figure of a process. One that is hidden makes the sum unknown.
#[cfg(any(not(target_os = "linux"), test))]
pub(super) fn add(sum: &mut Option<u64>, figure: Option<u64>) {
    *sum = sum.zip(figure).map(|(sum, figure)| sum.saturating_add(figure));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_figure_makes_the_sum_unknown() {
        let mut sum = Some(1);
        add(&mut sum, Some(2));
        assert_eq!(sum, Some(3));
        add(&mut sum, None);
        add(&mut sum, Some(2));
        assert_eq!(sum, None);
    }
}
