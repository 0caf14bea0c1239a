//! The last lines of a sidecar in memory, and the readers that begin in them.
//!
//! A reader takes all lines from here, also those to come, by their numbers: no line can be lost or repeated between the kept ones and
//! the new ones.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{
    entry::{Log, LogEntry, LogQuery},
    event_channel::EventSender,
    events::SidecarEvent,
    level::Level,
    log_file::LogFile,
    record::Record,
};
use crate::{
    output::{OutputBatch, UnfinishedLine, journal::Slot},
    wall_clock::now_ms,
};

/// How many lines of a sidecar are kept at most, if the newest batch has not more.
const MAX_LINES: usize = 20_000;
/// How many bytes the kept lines may take.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// What a batch takes besides its lines.
pub(super) const BATCH_OVERHEAD: usize = 160;
/// How many lines a reader gets at once at most. A message to a page costs more than a line.
const AT_ONCE: u64 = 500;

/// Receives what happens to a sidecar: passes the events to the subscribers, and keeps the output. All runs of a sidecar share it.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    events: EventSender<SidecarEvent>,
    ring: Arc<Mutex<Ring>>,
    changed: Arc<watch::Sender<()>>,
    /// The log files, if there are any.
    file: Option<LogFile>,
    record: Record,
}

/// The kept output, for readers.
#[derive(Debug, Clone)]
pub(crate) struct History {
    ring: Arc<Mutex<Ring>>,
    changed: watch::Receiver<()>,
    record: Record,
}

#[derive(Debug)]
struct Ring {
    batches: VecDeque<Recorded>,
    /// The number of the next line.
    next: u64,
    lines: usize,
    bytes: usize,
    runs: u64,
    /// The unfinished lines, at most one for each stream of a run, with the order in which they came.
    unfinished: Vec<(u64, u64, UnfinishedLine)>,
    last_unfinished: u64,
}

/// The lines of one read.
#[derive(Debug, Clone)]
struct Recorded {
    /// The number of its first line.
    first: u64,
    at: u64,
    run: u64,
    batch: Arc<OutputBatch>,
}

impl Recorder {
    pub(crate) fn new(events: EventSender<SidecarEvent>, file: Option<LogFile>) -> (Self, History) {
        let ring = Arc::new(Mutex::new(Ring::new()));
        let (sender, changed) = watch::channel(());
        let record = Record::default();
        let recorder =
            Self { events, ring: Arc::clone(&ring), changed: Arc::new(sender), file, record: record.clone() };
        (recorder, History { ring, changed, record })
    }

    /// The number of a run that begins.
    pub(crate) fn begin_run(&self) -> u64 {
        let mut ring = lock(&self.ring);
        ring.runs += 1;
        ring.runs
    }

    /// The number of the last run that has begun; 0 before the first.
    pub(crate) fn runs(&self) -> u64 {
        lock(&self.ring).runs
    }

    /// Keeps and publishes lines. `slot` is where they are in the journal of the run, which is used again once they are written.
    pub(crate) fn output(&self, run: u64, batch: Arc<OutputBatch>, slot: Option<Slot>) {
        let at = now_ms();
        if let Some(file) = self.file.as_ref().filter(|_| slot.is_some() || !batch.is_empty()) {
            file.output(at, run, Arc::clone(&batch), slot);
        }
        if batch.is_empty() {
            return;
        }
        lock(&self.ring).push(run, at, Arc::clone(&batch));
        self.changed.send_replace(());
        self.publish(SidecarEvent::Output(batch));
    }

    /// The log files, if there are any.
    pub(crate) fn file(&self) -> Option<&LogFile> {
        self.file.as_ref()
    }

    /// Waits until the log file takes more output, and the journal of the run `has_room`. Cancel-safe.
    pub(crate) async fn room(&self, has_room: impl Fn() -> bool) {
        if let Some(file) = &self.file
            && let Some(text) = file.room(has_room).await
        {
            self.publish(SidecarEvent::Notice(text));
        }
    }

    /// Whether the log file takes more output now, as [`room`](Self::room) waits for it.
    pub(crate) fn has_room(&self, has_room: impl Fn() -> bool) -> bool {
        self.file.as_ref().is_none_or(|file| file.has_room(has_room))
    }

    /// Keeps and publishes the present text of a line without a newline.
    pub(crate) fn unfinished(&self, run: u64, line: UnfinishedLine) {
        lock(&self.ring).set_unfinished(run, line.clone());
        self.changed.send_replace(());
        self.publish(SidecarEvent::Unfinished(line));
    }

    /// What is remembered for a diagnosis.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Passes an event to the subscribers.
    pub(crate) fn publish(&self, event: SidecarEvent) {
        if let SidecarEvent::Status(status) = &event {
            self.record.add_status(status);
        }
        self.events.send(event);
    }
}

impl History {
    /// What is remembered for a diagnosis.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    pub(crate) fn read(&self, query: LogQuery) -> Logs {
        let ring = lock(&self.ring);
        let mut next = ring.first();
        if let Some(tail) = query.tail {
            next = next.max(ring.next.saturating_sub(tail));
        }
        if let Some(since) = query.since {
            let first = ring.batches.iter().find(|batch| batch.at >= since);
            next = next.max(first.map_or(ring.next, |batch| batch.first));
        }
        // A reader that does not follow must end while the sidecar writes on.
        let (end, last_unfinished) =
            if query.follow { (u64::MAX, u64::MAX) } else { (ring.next, ring.last_unfinished) };
        drop(ring);
        Logs {
            ring: Arc::clone(&self.ring),
            changed: self.changed.clone(),
            query,
            next,
            end,
            place: (0, 0),
            seen_unfinished: 0,
            last_unfinished,
        }
    }
}

/// The output of a sidecar: lines that are kept, and then those to come, through all its restarts. The sidecar never waits for a
/// reader: one that is too slow gets [`Log::Missed`] with the exact number of lines.
///
/// ```no_run
/// # async fn example(backend: pillion::Supervisor) {
/// use pillion::{Log, LogQuery};
///
/// let mut logs = backend.logs(LogQuery::default().tail(200));
/// while let Some(log) = logs.next().await {
///     match log {
///         Log::Lines { entries, .. } => entries.iter().for_each(|entry| println!("{}", entry.text)),
///         Log::Missed { lines, .. } => println!("({lines} lines are missing)"),
///         _ => {}
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Logs {
    ring: Arc<Mutex<Ring>>,
    changed: watch::Receiver<()>,
    query: LogQuery,
    /// The number of the next line.
    next: u64,
    /// The number of the first line that the query does not want.
    end: u64,
    /// The number of a line, and the byte of its batch at which it begins: a long batch is read in parts.
    place: (u64, usize),
    /// The order number of the last unfinished line that was returned.
    seen_unfinished: u64,
    /// The order number of the last unfinished line that the query wants.
    last_unfinished: u64,
}

impl Logs {
    /// Waits for the next lines. Returns `None` when the sidecar is down and every handle to it is gone, or after the kept lines if the
    /// query does not [follow](LogQuery::follow). Cancel-safe: dropping the future loses no line.
    pub async fn next(&mut self) -> Option<Log> {
        // During a flood there is always a line: other tasks get their turn, and this task can be aborted.
        tokio::task::coop::consume_budget().await;
        loop {
            // Before the look at the ring, so that no later change is missed.
            let ended = self.changed.has_changed().is_err();
            self.changed.mark_unchanged();
            if let Some(log) = self.take() {
                return Some(log);
            }
            if ended || !self.query.follow {
                return None;
            }
            let _ = self.changed.changed().await;
        }
    }

    /// What the ring has for this reader now.
    fn take(&mut self) -> Option<Log> {
        let ring = lock(&self.ring);
        let first = ring.first().min(self.end);
        if let Some(lines) = first.checked_sub(self.next).filter(|lines| *lines > 0) {
            self.next = first;
            return Some(Log::Missed { lines });
        }
        let end = ring.next.min(self.end).min(self.next + AT_ONCE);
        if self.next == end {
            let wanted = self.seen_unfinished + 1..=self.last_unfinished;
            let (order, run, line) = ring.unfinished.iter().find(|(order, ..)| wanted.contains(order))?;
            self.seen_unfinished = *order;
            let text = self.query.text(line.text.clone());
            return Some(Log::Unfinished { run: *run, stream: line.stream, text });
        }
        let begin = ring.batches.partition_point(|batch| batch.end() <= self.next);
        let wanted = ring.batches.range(begin..).take_while(|batch| batch.first < end);
        let batches: Vec<_> = wanted.cloned().collect();
        // The text is made without the lock: the sidecar's task never waits for it.
        drop(ring);
        let mut entries = Vec::new();
        for batch in &batches {
            self.read(batch, end, &mut entries);
        }
        Some(Log::Lines { entries })
    }

    /// Reads the lines of a batch from the next one on, up to the number `end`.
    fn read(&mut self, recorded: &Recorded, end: u64, entries: &mut Vec<LogEntry>) {
        let Recorded { at, run, batch, .. } = recorded;
        let left = usize::try_from(recorded.end() - self.next).unwrap_or(usize::MAX);
        let mut start = match self.place {
            (line, start) if line == self.next => start,
            _ => batch.start_of_last(left),
        };
        for (seq, line) in (self.next..end).zip(batch.lines_at(batch.len().saturating_sub(left), start)) {
            // With its newline.
            start += line.bytes.len() + 1;
            let text = self.query.text(line.text());
            let level = if self.query.levels { Level::of(&text) } else { None };
            entries.push(LogEntry { seq, at: *at, run: *run, stream: batch.stream, level, text });
        }
        self.next = end.min(recorded.end());
        self.place = if self.next == recorded.end() { (self.next, 0) } else { (self.next, start) };
    }
}

impl Ring {
    fn new() -> Self {
        Self {
            batches: VecDeque::new(),
            next: 1,
            lines: 0,
            bytes: 0,
            runs: 0,
            unfinished: Vec::new(),
            last_unfinished: 0,
        }
    }

    /// The number of the oldest kept line, or of the next one.
    fn first(&self) -> u64 {
        self.batches.front().map_or(self.next, |batch| batch.first)
    }

    fn push(&mut self, run: u64, at: u64, batch: Arc<OutputBatch>) {
        self.unfinished.retain(|(_, of, line)| (*of, line.stream) != (run, batch.stream));
        let recorded = Recorded { first: self.next, at, run, batch };
        self.next = recorded.end();
        self.lines += recorded.batch.len();
        self.bytes += recorded.size();
        self.batches.push_back(recorded);
        // The newest batch stays, whatever its size: one read.
        while (self.lines > MAX_LINES || self.bytes > MAX_BYTES)
            && self.batches.len() > 1
            && let Some(oldest) = self.batches.pop_front()
        {
            self.lines -= oldest.batch.len();
            self.bytes -= oldest.size();
        }
    }

    fn set_unfinished(&mut self, run: u64, line: UnfinishedLine) {
        self.unfinished.retain(|(_, of, other)| (*of, other.stream) != (run, line.stream));
        self.last_unfinished += 1;
        self.unfinished.push((self.last_unfinished, run, line));
    }
}

impl Recorded {
    /// The number of the line after its last one.
    fn end(&self) -> u64 {
        self.first + self.batch.len() as u64
    }

    fn size(&self) -> usize {
        self.batch.capacity() + BATCH_OVERHEAD
    }
}

fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
