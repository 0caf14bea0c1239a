//! The streams of events and of status changes.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::watch;

use crate::{
    output::{OutputBatch, UnfinishedLine},
    report::event_channel::{EventReceiver, NoEvent},
    report::exit_report::ExitReport,
    report::snapshot::Snapshot,
    status::Status,
};

/// An event of a sidecar.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SidecarEvent {
    /// The status changed.
    Status(Box<Status>),
    /// The sidecar wrote lines.
    Output(Arc<OutputBatch>),
    /// The sidecar wrote to a line that has no newline yet, such as a prompt or a progress bar. Comes with the newest
    /// text, at most once a second for each line. When the line ends, it comes in an [`Output`](Self::Output) as well.
    Unfinished(UnfinishedLine),
    /// The sidecar did something that its author should know about. Each kind of notice comes once in a run.
    Notice(String),
    /// A run ended, and none of its processes is left. Comes before the status that follows the end. At the start of the app also for each
    /// run that an earlier start did not live to see end ([`Spec::keep_exit_reports`](crate::Spec::keep_exit_reports)).
    Ended(Arc<ExitReport>),
    /// The reader was too slow and lost this many events. The present status follows after the output that precedes it.
    Missed(u64),
}

/// How many events a reader may lag behind. A batch of output holds one read, at most 64 KiB, so this bounds the memory too.
pub(crate) const CAPACITY: usize = 128;

/// The events of a sidecar, in order. The sidecar never waits for a reader: a reader that is too slow loses events and receives
/// [`SidecarEvent::Missed`].
///
/// ```no_run
/// # async fn example() {
/// use pillion::{SidecarEvent, Spec, Supervisor};
///
/// let (_backend, mut events) = Supervisor::start(Spec::run("backend", "./backend"));
/// while let Some(event) = events.next().await {
///     match event {
///         SidecarEvent::Status(status) => println!("{:?}: {}", status.state, status.reason.unwrap_or_default()),
///         SidecarEvent::Output(batch) => batch.lines().for_each(|line| println!("| {}", line.text())),
///         SidecarEvent::Notice(text) => println!("note: {text}"),
///         _ => {}
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Events {
    receiver: EventReceiver<SidecarEvent>,
    snapshot: watch::Receiver<Snapshot>,
    /// Statuses that replace lost events. At most two: one is due at once, and one waits for its turn.
    owed: VecDeque<OwedStatus>,
    /// The `seq` of the newest status that was returned.
    seen: u64,
}

/// A status that replaces events that this reader lost.
#[derive(Debug)]
struct OwedStatus {
    status: Box<Status>,
    /// How many earlier events come first, so that the last output of a sidecar comes before its end.
    events_before: usize,
}

impl Events {
    pub(crate) fn new(
        receiver: EventReceiver<SidecarEvent>,
        snapshot: watch::Receiver<Snapshot>,
        from_now: bool,
    ) -> Self {
        let mut events = Self { receiver, snapshot, owed: VecDeque::new(), seen: 0 };
        if from_now {
            events.owe(0);
        }
        events
    }

    /// Waits for the next event. Returns `None` when the sidecar is down and every handle to it is gone. Cancel-safe: dropping the
    /// future loses no event.
    pub async fn next(&mut self) -> Option<SidecarEvent> {
        loop {
            let due = self.owed.front().is_some_and(|owed| owed.events_before == 0);
            if due && let Some(owed) = self.owed.pop_front() {
                self.seen = owed.status.seq;
                return Some(SidecarEvent::Status(owed.status));
            }
            let event = self.receiver.recv().await;
            if let Some(owed) = self.owed.back_mut() {
                owed.events_before = owed.events_before.saturating_sub(1);
            }
            match event {
                // A newer status has already replaced it.
                Ok(SidecarEvent::Status(status)) if status.seq <= self.seen => {}
                Ok(SidecarEvent::Status(status)) => {
                    self.seen = status.seq;
                    self.owed.retain(|owed| owed.status.seq > status.seq);
                    return Some(SidecarEvent::Status(status));
                }
                Ok(event) => return Some(event),
                Err(NoEvent::Missed(missed)) => {
                    // A reader that lags again gets at once what was already owed.
                    self.owed.iter_mut().for_each(|owed| owed.events_before = 0);
                    self.owe(self.receiver.len());
                    return Some(SidecarEvent::Missed(missed));
                }
                Err(NoEvent::Closed) => return None,
            }
        }
    }

    /// The name of the sidecar.
    pub(crate) fn sidecar(&self) -> String {
        self.snapshot.borrow().status.sidecar.clone()
    }

    fn owe(&mut self, events_before: usize) {
        let status = Box::new(self.snapshot.borrow().status.clone());
        if self.owed.back().is_none_or(|owed| owed.status.seq < status.seq) {
            self.owed.push_back(OwedStatus { status, events_before });
        }
    }
}

/// The status of a sidecar and its changes: the present status first, then newer ones. A slow reader skips outdated statuses and
/// always gets the newest one.
///
/// ```no_run
/// # async fn example(backend: pillion::Supervisor) {
/// use pillion::Readiness;
///
/// let mut changes = backend.watch();
/// while let Some(status) = changes.next().await {
///     if status.readiness == Readiness::Up {
///         println!("{} serves {}", status.sidecar, status.url.unwrap_or_default());
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct StatusWatch {
    snapshot: watch::Receiver<Snapshot>,
}

impl StatusWatch {
    pub(crate) fn new(mut snapshot: watch::Receiver<Snapshot>) -> Self {
        snapshot.mark_changed();
        Self { snapshot }
    }

    /// Waits for a status that was not returned yet. Returns `None` when the sidecar is down and every handle to it is gone.
    /// Cancel-safe: dropping the future loses no status.
    pub async fn next(&mut self) -> Option<Status> {
        self.snapshot.changed().await.ok()?;
        Some(self.snapshot.borrow_and_update().status.clone())
    }
}
