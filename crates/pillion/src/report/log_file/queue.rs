//! What is to be written to the log files of a sidecar: a queue between the sidecar's task and the thread that writes.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pillion_protocol::Token;
use tokio::{sync::Notify, time::Instant};

use crate::{
    output::{
        OutputBatch,
        journal::{Released, Slot},
    },
    report::{history::BATCH_OVERHEAD, level::Level},
};

/// How many bytes of output may wait. Then the sidecar's output is not read, until some of it is written.
const MAX_BYTES: usize = 512 * 1024;
/// After which time without progress of the disk output is counted instead: a sidecar must not hang with a disk.
const STALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it is waited then for a last sign of the disk: the whole app may have been stopped (Ctrl-Z), and its thread had no time to write.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// What is written, or changes what is written.
#[derive(Debug)]
pub(super) enum Item {
    /// A run has this token.
    Token(Token),
    /// The run with this token has ended, and no line of it comes any more.
    Forget(Token),
    /// Lines of the sidecar.
    Lines { at: u64, run: u64, batch: Arc<OutputBatch>, slot: Option<Slot> },
    /// A sentence of the supervisor.
    Note { at: u64, run: u64, level: Level, text: String },
    /// So many lines are missing here, among them all of these slots.
    Missing(u64, Vec<Slot>),
    /// A stream is not read any more.
    Released(Released),
}

/// The queue. It has many writers, which are all on the sidecar's task, and one reader.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    /// Notified after each write, and when the queue is stalled.
    written: Notify,
}

#[derive(Debug)]
struct State {
    items: VecDeque<Item>,
    /// The bytes of the lines among them, and what their batches take besides.
    bytes: usize,
    /// How many items were added, and how many of them are written or given up.
    added: u64,
    done: u64,
    closed: bool,
    /// How many bytes, or items, the reader waits for.
    awaited: (usize, u64),
    /// When the queue was empty, or something was written, for the last time.
    progress: Instant,
    /// When it was first found that nothing was written for too long, since the last progress.
    suspected: Option<Instant>,
    /// The lines that were not added since the disk stalled, and their slots; `None` if it works.
    stalled: Option<(u64, Vec<Slot>)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            added: 0,
            done: 0,
            closed: false,
            awaited: (0, 0),
            progress: Instant::now(),
            suspected: None,
            stalled: None,
        }
    }
}

impl State {
    fn add(&mut self, item: Item) {
        if self.done == self.added {
            self.progressed();
        }
        self.bytes += size(&item);
        self.items.push_back(item);
        self.added += 1;
    }

    fn has(&self, (bytes, items): (usize, u64)) -> bool {
        self.bytes >= bytes || self.items.len() as u64 >= items
    }

    fn progressed(&mut self) {
        (self.progress, self.suspected) = (Instant::now(), None);
    }
}

impl Queue {
    /// Adds an item. Lines are counted instead while the disk is stalled.
    pub(super) fn add(&self, item: Item) {
        let mut state = self.lock();
        match (item, &mut state.stalled) {
            (Item::Lines { batch, slot, .. }, Some((missing, slots))) => {
                *missing += batch.len() as u64;
                slots.extend(slot);
            }
            (Item::Released(released), Some((_, slots))) => {
                // Another run may have its place when the disk works again.
                slots.retain(|slot| !released.has(slot));
                state.add(Item::Released(released));
            }
            (item, _) => state.add(item),
        }
        if state.has(state.awaited) {
            self.filled.notify_one();
        }
    }

    /// Whether more output may be added now, and the journal `has_room` for it.
    pub(super) fn has_room(&self, has_room: impl Fn() -> bool) -> bool {
        let state = self.lock();
        state.bytes < MAX_BYTES && has_room() || state.stalled.is_some()
    }

    /// Waits until more output may be added, and the journal `has_room` for it. Returns whether the disk has just stalled, so that output
    /// will be counted from now on. Cancel-safe.
    pub(super) async fn room(&self, has_room: impl Fn() -> bool) -> bool {
        loop {
            // Before the look at the state, so that no change is missed.
            let written = self.written.notified();
            let stalls_at = {
                let mut state = self.lock();
                if state.bytes < MAX_BYTES && has_room() || state.stalled.is_some() {
                    return false;
                }
                let (now, overdue) = (Instant::now(), state.progress + STALL_TIMEOUT);
                if now < overdue {
                    overdue
                } else {
                    let stalls_at = *state.suspected.get_or_insert(now) + LAST_LOOK;
                    if now >= stalls_at {
                        state.stalled = Some((0, Vec::new()));
                        return true;
                    }
                    stalls_at
                }
            };
            // An error means that the time is over.
            let _ = tokio::time::timeout_at(stalls_at, written).await;
        }
    }

    /// Waits until everything is written that was added before, until this time at most. Does not wait for a disk that is stalled.
    pub(super) async fn flush(&self, until: Instant) {
        let target = self.lock().added;
        let all = async {
            loop {
                let written = self.written.notified();
                let written_or_stalled = {
                    let state = self.lock();
                    state.done >= target || state.stalled.is_some()
                };
                if written_or_stalled {
                    return;
                }
                written.await;
            }
        };
        // An error means that the disk is too slow: the sidecar's end does not wait for it.
        let _ = tokio::time::timeout_at(until, all).await;
    }

    /// No more is added. What was added is still written.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Waits until the items are so many, or have so many bytes, or the queue is closed; for this time at most.
    pub(super) fn gather(&self, bytes: usize, items: u64, limit: Duration) {
        let mut state = self.lock();
        state.awaited = (bytes, items);
        let is_early = |state: &mut State| !state.has((bytes, items)) && !state.closed;
        let gathered = self.filled.wait_timeout_while(state, limit, is_early);
        gathered.unwrap_or_else(PoisonError::into_inner).0.awaited = (0, 0);
    }

    /// Takes the next item, and waits for one; for this time at most, if there is a limit. `Err` once the queue is closed and empty.
    pub(super) fn take(&self, wait: Option<Duration>) -> Result<Option<Item>, Closed> {
        let mut state = self.lock();
        if state.items.is_empty() && !state.closed && wait != Some(Duration::ZERO) {
            state = match wait {
                Some(limit) => {
                    self.filled.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        match state.items.pop_front() {
            Some(item) => {
                state.bytes -= size(&item);
                Ok(Some(item))
            }
            None if state.closed => Err(Closed),
            None => Ok(None),
        }
    }

    /// So many items that were taken are written, or given up after an error of the disk.
    pub(super) fn done(&self, items: u64) {
        let mut state = self.lock();
        state.done += items;
        state.progressed();
        // One write does not mean that the disk keeps up again.
        if state.bytes < MAX_BYTES / 2
            && let Some((missing, slots)) = state.stalled.take()
            && (missing > 0 || !slots.is_empty())
        {
            state.add(Item::Missing(missing, slots));
        }
        drop(state);
        self.written.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing more will come.
#[derive(Debug)]
pub(super) struct Closed;

fn size(item: &Item) -> usize {
    match item {
        Item::Lines { batch, .. } => batch.capacity() + BATCH_OVERHEAD,
        Item::Note { text, .. } => text.len(),
        Item::Token(_) | Item::Forget(_) | Item::Missing(..) | Item::Released(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::{output::tests::batch, status::OutputStream};

    fn lines() -> Item {
        let batch = Arc::new(batch(OutputStream::Stdout, &b"line\n".repeat(20_000)));
        Item::Lines { at: 0, run: 1, batch, slot: None }
    }

    fn is_missing(item: Option<Item>) -> Option<u64> {
        if let Some(Item::Missing(lines, _)) = item { Some(lines) } else { None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_disk_costs_counted_lines_and_no_memory() {
        let queue = Queue::default();
        let mut added = 0;
        let begin = Instant::now();
        while !queue.room(|| true).await {
            queue.add(lines());
            added += 1;
            assert!(added < 100, "the queue has no limit");
        }
        assert_eq!(begin.elapsed(), STALL_TIMEOUT + LAST_LOOK);
        // Nothing waits for it.
        queue.flush(begin + Duration::from_secs(3600)).await;
        assert_eq!(begin.elapsed(), STALL_TIMEOUT + LAST_LOOK);
        for _ in 0..3 {
            assert!(!queue.room(|| true).await, "a stall is told once");
            queue.add(lines());
        }
        // The disk works again.
        for _ in 0..added {
            assert!(matches!(queue.take(None), Ok(Some(Item::Lines { .. }))));
            queue.done(1);
            assert!(!queue.room(|| true).await);
        }
        assert_eq!(is_missing(queue.take(None).unwrap()), Some(60_000));
        queue.done(1);
        queue.flush(begin + Duration::from_secs(3600)).await;
        assert!(begin.elapsed() < Duration::from_secs(3600));
        queue.close();
        assert!(queue.take(None).is_err());
    }

    #[test]
    fn many_short_lines_fill_the_queue_by_the_memory_that_they_take() {
        let queue = Queue::default();
        for _ in 0..MAX_BYTES / BATCH_OVERHEAD {
            let batch = Arc::new(batch(OutputStream::Stdout, b"\n"));
            queue.add(Item::Lines { at: 0, run: 1, batch, slot: None });
        }
        assert!(queue.lock().bytes >= MAX_BYTES - BATCH_OVERHEAD);
    }

    #[test]
    fn a_reader_that_gathers_is_woken_by_enough_and_by_the_end() {
        let (queue, long) = (Queue::default(), Duration::from_secs(3600));
        queue.add(lines());
        let one = queue.lock().bytes;
        // Enough is there.
        queue.gather(one, u64::MAX, long);
        for (bytes, items) in [(3 * one, u64::MAX), (usize::MAX, 5)] {
            thread::scope(|scope| {
                let reader = scope.spawn(|| queue.gather(bytes, items, long));
                (0..2).for_each(|_| queue.add(lines()));
                reader.join().unwrap();
            });
        }
        queue.gather(usize::MAX, u64::MAX, Duration::ZERO);
        thread::scope(|scope| {
            let reader = scope.spawn(|| queue.gather(usize::MAX, u64::MAX, long));
            queue.close();
            reader.join().unwrap();
        });
        assert_eq!(queue.lock().awaited, (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_disk_delays_output_and_loses_none() {
        let queue = Arc::new(Queue::default());
        while queue.lock().bytes < MAX_BYTES {
            queue.add(lines());
        }
        let waiting = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.room(|| true).await }
        });
        tokio::time::sleep(STALL_TIMEOUT * 9 / 10).await;
        assert!(!waiting.is_finished());
        while queue.lock().bytes >= MAX_BYTES {
            queue.take(None).unwrap();
            queue.done(1);
        }
        assert!(!waiting.await.unwrap());
        // The end of a run does not wait for ever.
        let until = Instant::now() + STALL_TIMEOUT;
        queue.flush(until).await;
        assert_eq!(Instant::now(), until);
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_was_stopped_for_long_does_not_blame_the_disk() {
        let queue = Arc::new(Queue::default());
        while queue.lock().bytes < MAX_BYTES {
            queue.add(lines());
        }
        // As after SIGCONT: more time has passed than a disk may take, and the thread goes on just now.
        tokio::time::advance(STALL_TIMEOUT * 10).await;
        let waiting = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.room(|| true).await }
        });
        tokio::time::sleep(LAST_LOOK / 2).await;
        while queue.lock().bytes >= MAX_BYTES {
            queue.take(None).unwrap();
            queue.done(1);
        }
        assert!(!waiting.await.unwrap(), "the disk works");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_disk_has_to_take_half_of_the_queue_before_more_is_added() {
        let queue = Queue::default();
        while !queue.room(|| true).await {
            queue.add(lines());
        }
        while queue.lock().bytes >= MAX_BYTES / 2 {
            assert!(queue.lock().stalled.is_some());
            queue.take(None).unwrap();
            queue.done(1);
        }
        assert!(queue.lock().stalled.is_none());
    }
}
