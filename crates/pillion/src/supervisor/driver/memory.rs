//! The declared memory limit: a notice before it, and the end of the run at it.

use super::Driver;
use crate::{
    health::memory::{MemoryMonitor, MemoryUse},
    report::messages,
    state::Event,
    supervisor::run::NoticeKind,
};

/// The share of the limit that is worth a notice, in percent.
const NOTICE_PERCENT: u8 = 90;

impl Driver {
    /// Begins to measure the memory of the run, if its declaration limits it.
    pub(super) fn watch_memory(&mut self) {
        let process = self.run.process.as_ref();
        self.memory = process
            .zip(self.spec.max_memory)
            .map(|(process, limit)| MemoryMonitor::new(&process.group, limit));
    }

    pub(super) fn on_memory(&mut self, memory: Option<MemoryUse>) {
        match memory {
            Some(memory) if memory.is_beyond(100) => {
                self.run.diagnostics.memory = Some(memory);
                self.dispatch(Event::MemoryExceeded);
            }
            Some(memory) if memory.is_beyond(NOTICE_PERCENT) => {
                self.run.notice(NoticeKind::MemoryNearLimit, messages::memory_near_limit(memory));
            }
            Some(_) => {}
            None => {
                let text = "its memory limit (`maxMemory`) has no effect: the system does not tell the memory of its processes";
                self.run.notice(NoticeKind::MemoryUnknown, text.to_owned());
            }
        }
    }
}
