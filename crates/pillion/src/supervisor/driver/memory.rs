//! The declared memory limit: a notice before it, and the end of the run at it.

use super::Driver;
use crate::{
    health::memory::{MemoryFinding, MemoryMonitor},
    report::messages,
    state::Event,
    supervisor::run::NoticeKind,
};

impl Driver {
    /// Begins to measure the memory of the run, if its declaration limits it.
    pub(super) fn watch_memory(&mut self) {
        let process = self.run.process.as_ref();
        let Some((process, limit)) = process.zip(self.spec.max_memory) else {
            self.memory = None;
            return;
        };
        self.memory = MemoryMonitor::new(&process.group, limit);
        if self.memory.is_none() {
            self.on_memory(MemoryFinding::Unknown);
        }
    }

    pub(super) fn on_memory(&mut self, finding: MemoryFinding) {
        match finding {
            MemoryFinding::Exceeded(memory) => {
                self.run.diagnostics.memory = Some(memory);
                self.dispatch(Event::MemoryExceeded);
            }
            MemoryFinding::NearLimit(memory) => {
                self.run.notice(NoticeKind::MemoryNearLimit, messages::memory_near_limit(memory));
            }
            MemoryFinding::Unknown => {
                let text = "its memory limit (`maxMemory`) has no effect: the system does not tell the memory of its processes";
                self.run.notice(NoticeKind::MemoryUnknown, text.to_owned());
            }
        }
    }
}
