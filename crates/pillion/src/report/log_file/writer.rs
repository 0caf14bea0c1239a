//! The thread that writes the log files of a sidecar.

use std::{io, sync::Arc, time::Duration};

use pillion_guard::log_lines::journal::SLOTS;
use tokio::time::Instant;

use super::{
    folder::{AppendError, LogFolder, OpenFile},
    ledger::Ledger,
    lines::Lines,
    queue::{Item, Queue},
};
use crate::{
    output::journal::{Journal, Slot},
    report::{event_channel::WeakEventSender, events::SidecarEvent, level::Level},
    spec::LogFiles,
    wall_clock::now_ms,
};

/// How much is collected for one write, if more is there, and the least of that where log files are small. A file system does the same
/// work for each write, and keeps what is written at once in larger pieces of memory.
const AT_ONCE: usize = 256 * 1024;
const LEAST_AT_ONCE: usize = 4 * 1024;
/// How long the writer waits for more, if the last write is no longer ago: to wake this thread for each read would cost more than the rest.
const GATHER_TIME: Duration = Duration::from_millis(2);
/// For how many items it waits in all: half of the journal, so that the sidecar goes on meanwhile.
const GATHER_ITEMS: u64 = SLOTS as u64 / 2;
/// How long after a refused write the disk is tried again, and how often the writer looks whether its file still is in its place.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Writes what the queue holds, until it is closed.
#[derive(Debug)]
pub(super) struct Writer {
    sidecar: String,
    queue: Arc<Queue>,
    folder: LogFolder,
    at_once: usize,
    events: WeakEventSender<SidecarEvent>,
    /// What is noted in the journal, where the system has one.
    ledger: Option<Ledger>,
    lines: Lines,
    next: Next,
    file: Option<OpenFile>,
    /// When the file was last found in its place.
    looked: Option<Instant>,
    refusal: Option<Refusal>,
    /// The last run of which something came.
    run: u64,
    /// The last run in which each kind of notice was published.
    noticed_in: [Option<u64>; 2],
}

/// What is written next.
#[derive(Debug, Default)]
struct Next {
    text: Vec<u8>,
    /// How many lines it has.
    lines: u64,
    /// How many items of the queue it has.
    items: u64,
}

/// Kinds of notices. Each is published once in a run: a disk that refuses each second write must not flood the readers.
#[derive(Debug, Clone, Copy)]
enum NoticeKind {
    Refused = 0,
    Resumed = 1,
}

/// The disk refuses to write.
#[derive(Debug)]
struct Refusal {
    /// How many lines are not written.
    missing: u64,
    /// When the last write was tried. `None` lets the next one begin at once.
    tried: Option<Instant>,
    why: String,
}

impl Writer {
    pub(super) fn new(
        sidecar: &str,
        queue: Arc<Queue>,
        files: &LogFiles,
        events: WeakEventSender<SidecarEvent>,
    ) -> Self {
        let folder = LogFolder::new(files, sidecar);
        let ledger = Ledger::new(sidecar, folder.path(), files.max_bytes).inspect_err(|error| {
            tracing::debug!(sidecar, %error, "after the death of this program, its log file misses the last lines");
        });
        let an_eighth = usize::try_from(files.max_bytes / 8).unwrap_or(usize::MAX);
        Self {
            sidecar: sidecar.to_owned(),
            queue,
            folder,
            at_once: an_eighth.clamp(LEAST_AT_ONCE, AT_ONCE),
            events,
            ledger: ledger.ok(),
            lines: Lines::default(),
            next: Next::default(),
            file: None,
            looked: None,
            refusal: None,
            run: 0,
            noticed_in: [None; 2],
        }
    }

    /// The journal, where the system has one.
    pub(super) fn journal(&self) -> Option<Arc<Journal>> {
        self.ledger.as_ref().map(|ledger| Arc::clone(ledger.journal()))
    }

    pub(super) fn run(mut self) {
        let (mut written, mut gathered) = (None, false);
        loop {
            // A write that failed is tried again, even if nothing more comes.
            let wait = if self.next.items > 0 {
                Some(Duration::ZERO)
            } else {
                self.refusal.as_ref().map(|_| RETRY_INTERVAL)
            };
            match self.queue.take(wait) {
                Ok(Some(item)) => {
                    self.format(item);
                    self.next.items += 1;
                    if self.next.text.len() < self.at_once {
                        continue;
                    }
                }
                Ok(None) => {
                    let is_busy = written.is_some_and(|written: Instant| written.elapsed() < GATHER_TIME);
                    let few = GATHER_ITEMS.saturating_sub(self.next.items);
                    if is_busy && self.next.items > 0 && few > 0 && !gathered {
                        // In the file, short lines take up to twice as much.
                        self.queue.gather((self.at_once - self.next.text.len()) / 2, few, GATHER_TIME);
                        gathered = true;
                        continue;
                    }
                }
                Err(_) => {
                    // The last try is not delayed.
                    if let Some(refusal) = &mut self.refusal {
                        refusal.tried = None;
                    }
                    return self.write();
                }
            }
            self.write();
            (written, gathered) = (Some(Instant::now()), false);
        }
    }

    /// Adds the lines of an item to the text. Writes in between if they are many.
    fn format(&mut self, item: Item) {
        match item {
            Item::Token(token) => self.lines.hide(token),
            Item::Forget(token) => self.lines.forget(&token),
            Item::Lines { at, run, batch, slot } => {
                self.run = run;
                let form = self.lines.form(at, run, &batch);
                for (line, index) in batch.lines().zip(1..) {
                    self.lines.output(&form, &line, &mut self.next.text);
                    self.next.lines += 1;
                    if self.next.text.len() >= self.at_once && index < batch.len() {
                        if let (Some(ledger), Some(slot)) = (&mut self.ledger, &slot) {
                            ledger.add(slot.clone(), Some(index as u64));
                        }
                        self.write();
                    }
                }
                self.add(slot);
            }
            Item::Note { at, run, level, text: sentence } => {
                self.run = run;
                self.lines.note(at, run, level, &sentence, &mut self.next.text);
                self.next.lines += 1;
            }
            Item::Missing(lines, slots) => {
                let sentence = missing(lines, "the disk did not answer");
                self.lines.note(now_ms(), self.run, Level::Warn, &sentence, &mut self.next.text);
                self.next.lines += lines;
                self.add(slots);
            }
            Item::Released(released) => {
                self.write();
                if let Some(ledger) = &mut self.ledger {
                    ledger.release(released);
                }
            }
        }
    }

    /// All lines of these slots are in the text.
    fn add(&mut self, slots: impl IntoIterator<Item = Slot>) {
        if let Some(ledger) = &mut self.ledger {
            slots.into_iter().for_each(|slot| ledger.add(slot, None));
        }
    }

    /// Writes the text, or counts its lines as missing. Empties the text.
    fn write(&mut self) {
        let now = Instant::now();
        let Next { lines, items, .. } = self.next;
        let wait = self
            .refusal
            .as_ref()
            .and_then(|refusal| refusal.tried)
            .is_some_and(|tried| now < tried + RETRY_INTERVAL);
        match &mut self.refusal {
            Some(refusal) if wait => refusal.missing += lines,
            Some(refusal) => {
                // Before what comes now.
                let sentence = missing(refusal.missing, &refusal.why);
                let mut note = Vec::new();
                self.lines.note(now_ms(), self.run, Level::Warn, &sentence, &mut note);
                self.next.text.splice(0..0, note);
                self.append(lines, now);
            }
            None if self.next.text.is_empty() => {}
            None => self.append(lines, now),
        }
        self.next.text.clear();
        (self.next.lines, self.next.items) = (0, 0);
        if let Some(ledger) = &mut self.ledger {
            ledger.commit(self.file.as_ref().map(OpenFile::length));
        }
        if items > 0 {
            self.queue.done(items);
        }
    }

    /// Appends the text, which has so many lines, to the present file or to a new one, or counts its lines as missing.
    fn append(&mut self, lines: u64, now: Instant) {
        match self.try_append(now) {
            Ok(()) => {
                if let Some(refusal) = self.refusal.take() {
                    let lines = refusal.missing;
                    self.notice(
                        NoticeKind::Resumed,
                        &format!("its log file is written again; {lines} lines are missing in it"),
                    );
                }
            }
            Err(error) => {
                let why = format!("{}: {error}", self.folder.path().display());
                if let Some(refusal) = &mut self.refusal {
                    refusal.missing += lines;
                    (refusal.tried, refusal.why) = (Some(now), why);
                } else {
                    self.notice(
                        NoticeKind::Refused,
                        &format!("its log file cannot be written, so it runs without one: {why}"),
                    );
                    self.refusal = Some(Refusal { missing: lines, tried: Some(now), why });
                }
            }
        }
    }

    /// After an error, nothing of the text is written.
    fn try_append(&mut self, now: Instant) -> io::Result<()> {
        if let Some(file) = &self.file {
            let look = self.looked.is_none_or(|looked| now >= looked + RETRY_INTERVAL);
            if self.folder.is_full(file, self.next.text.len()) || look && !file.is_in_place() {
                self.file = None;
            } else if look {
                self.looked = Some(now);
            }
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                self.looked = Some(now);
                let file = none.insert(self.folder.begin()?);
                if let Some(ledger) = &mut self.ledger {
                    ledger.begin_file(&file.name());
                }
                file
            }
        };
        let new = file.is_empty();
        match file.append(&self.next.text) {
            Ok(()) => {
                if new {
                    self.folder.prune(file);
                }
                Ok(())
            }
            Err(AppendError { why, usable }) => {
                if new {
                    // Each try would leave one.
                    self.file.take().into_iter().for_each(OpenFile::discard);
                } else if !usable {
                    self.file = None;
                }
                Err(why)
            }
        }
    }

    fn notice(&mut self, kind: NoticeKind, text: &str) {
        if self.noticed_in[kind as usize].replace(self.run) == Some(self.run) {
            return;
        }
        tracing::warn!(sidecar = self.sidecar, "{text}");
        if let Some(events) = self.events.upgrade() {
            events.send(SidecarEvent::Notice(text.to_owned()));
        }
    }
}

fn missing(lines: u64, why: &str) -> String {
    format!("{lines} lines are missing here: {why}")
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;
    use crate::{report::event_channel, spec::LogFiles};

    #[test]
    fn a_disk_that_refused_is_tried_once_more_at_the_end() {
        let base = tempfile::tempdir().unwrap();
        let blocked = base.path().join("logs");
        fs::write(&blocked, "in the way").unwrap();
        let (events, mut received) = event_channel::channel(8);
        let queue = Arc::new(Queue::default());
        let writer = Writer::new("backend", Arc::clone(&queue), &LogFiles::new(&blocked), events.downgrade());
        queue.add(Item::Note { at: 0, run: 1, level: Level::Info, text: "first".to_owned() });
        let thread = thread::spawn(move || writer.run());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(received.recv()).unwrap();
        fs::remove_file(&blocked).unwrap();
        queue.close();
        thread.join().unwrap();
        let file = fs::read_dir(blocked.join("backend")).unwrap().next().unwrap().unwrap().path();
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains("1 lines are missing here: "), "{text}");
    }
}
