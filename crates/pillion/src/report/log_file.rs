//! The output of a sidecar as files.
//!
//! The sidecar's task adds lines to a queue, and a thread writes them: at once while it keeps up, else many at once. A disk that is slower
//! than the sidecar delays the reading of its output, so that no line is lost. A disk that stalls, or refuses to write, costs lines, which are
//! counted in the file and told by a notice; the sidecar goes on.

mod folder;
mod ledger;
mod lines;
mod queue;
mod tail;
mod writer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use pillion_protocol::Token;
use tokio::time::Instant;

pub(crate) use self::tail::tail;
use self::{
    queue::{Item, Queue},
    writer::Writer,
};
use super::{event_channel::WeakEventSender, events::SidecarEvent, level::Level};
use crate::{
    output::{
        OutputBatch,
        journal::{Journal, RunJournal, Slot},
    },
    spec::LogFiles,
    wall_clock::now_ms,
};

/// The log files of one sidecar. Clones share them. What was added is written also after the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct LogFile(Arc<Open>);

#[derive(Debug)]
struct Open {
    sidecar: String,
    /// The last run whose output came.
    run: AtomicU64,
    /// The last run in which a stall of the disk was reported.
    stall_reported_in: AtomicU64,
    queue: Arc<Queue>,
    /// Where the system has one, output is read to it.
    journal: Option<Arc<Journal>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The token of a run that goes on. Drop it after the last line of the run.
#[derive(Debug)]
pub(crate) struct Hidden {
    log: LogFile,
    token: Token,
}

impl Drop for Hidden {
    fn drop(&mut self) {
        self.log.0.queue.add(Item::Forget(self.token.clone()));
    }
}

impl LogFile {
    /// Begins to write log files. `None` if the system allows no further thread.
    pub(crate) fn start(
        files: &LogFiles,
        sidecar: &str,
        events: WeakEventSender<SidecarEvent>,
    ) -> Option<Self> {
        let queue = Arc::new(Queue::default());
        let writer = Writer::new(sidecar, Arc::clone(&queue), files, events);
        let journal = writer.journal();
        let thread = thread::Builder::new().name("pillion-log".to_owned());
        match thread.spawn(move || writer.run()) {
            Ok(_) => Some(Self(Arc::new(Open {
                sidecar: sidecar.to_owned(),
                run: AtomicU64::new(0),
                stall_reported_in: AtomicU64::new(0),
                queue,
                journal,
            }))),
            Err(error) => {
                tracing::warn!(sidecar, %error, "no log file is written");
                None
            }
        }
    }

    /// This token is not written as long as the result lives, which belongs to the run.
    pub(crate) fn hide(&self, token: Token) -> Hidden {
        self.0.queue.add(Item::Token(token.clone()));
        Hidden { log: self.clone(), token }
    }

    /// A journal for a run that is about to start, if the system has one.
    pub(crate) fn begin_journal(&self) -> Option<RunJournal> {
        let queue = Arc::clone(&self.0.queue);
        self.0.journal.as_ref()?.begin(move |released| queue.add(Item::Released(released)))
    }

    /// Adds lines of the sidecar, and their slot in the journal of the run.
    pub(crate) fn output(&self, at: u64, run: u64, batch: Arc<OutputBatch>, slot: Option<Slot>) {
        self.0.run.store(run, Ordering::Relaxed);
        self.0.queue.add(Item::Lines { at, run, batch, slot });
    }

    /// Adds a sentence of the supervisor.
    pub(crate) fn note(&self, run: u64, level: Level, text: String) {
        self.0.queue.add(Item::Note { at: now_ms(), run, level, text });
    }

    /// Whether more output may be added now, and the journal of the run `has_room`.
    pub(crate) fn has_room(&self, has_room: impl Fn() -> bool) -> bool {
        self.0.queue.has_room(has_room)
    }

    /// Waits until more output may be added, and the journal of the run `has_room`. Returns a notice if the disk has just stalled, once a
    /// run. Cancel-safe.
    pub(crate) async fn room(&self, has_room: impl Fn() -> bool) -> Option<String> {
        if !self.0.queue.room(has_room).await {
            return None;
        }
        let run = self.0.run.load(Ordering::Relaxed);
        if self.0.stall_reported_in.swap(run, Ordering::Relaxed) == run {
            return None;
        }
        let text = "nothing can be written to its log file, perhaps because the disk hangs: from now on it lacks lines";
        tracing::warn!(sidecar = self.0.sidecar, "{text}");
        Some(text.to_owned())
    }

    /// Waits until everything is written that was added before, until this time at most.
    pub(crate) async fn flush(&self, until: Instant) {
        self.0.queue.flush(until).await;
    }
}
