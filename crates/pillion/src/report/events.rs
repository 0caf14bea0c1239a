//! Everything that happens to a sidecar, in order.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::{broadcast, watch};

use crate::{output::OutputBatch, report::snapshot::Snapshot, status::Status};

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SidecarEvent {
    /// Its status changed.
    Status(Box<Status>),
    /// It wrote lines.
    Output(Arc<OutputBatch>),
    /// It did something that its author should know of.
    Notice(String),
    /// The reader was too slow, and this many events are gone. The present status follows, behind what is left of the
    /// output before it.
    Missed(u64),
}

/// How many events a slow reader may lag behind. A batch of output holds what one read of a pipe brought, 64 KiB, so
/// that this bounds the memory as well.
pub(crate) const CAPACITY: usize = 128;

/// The stream of what happens to a sidecar. A reader that is too slow loses output, and is told so; the sidecar never
/// waits for it.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<SidecarEvent>,
    snapshot: watch::Receiver<Snapshot>,
    /// At most two: one that is due at once, and one that waits for its turn.
    owed: VecDeque<Owed>,
    /// The newest status that was handed out.
    seen: u64,
}

/// A status that stands in for events that this reader did not get.
#[derive(Debug)]
struct Owed {
    status: Box<Status>,
    /// How many events that happened before it are still to be handed out: a sidecar's last words come before its end.
    behind: usize,
}

impl Events {
    pub(crate) fn new(
        receiver: broadcast::Receiver<SidecarEvent>,
        snapshot: watch::Receiver<Snapshot>,
        from_now: bool,
    ) -> Self {
        let mut events = Self { receiver, snapshot, owed: VecDeque::new(), seen: 0 };
        if from_now {
            events.owe(0);
        }
        events
    }

    /// Waits for the next event; `None` once the sidecar is down and its supervisor gone. Nothing is lost when it is
    /// dropped before it is ready.
    pub async fn next(&mut self) -> Option<SidecarEvent> {
        loop {
            let due = self.owed.front().is_some_and(|owed| owed.behind == 0);
            if due && let Some(owed) = self.owed.pop_front() {
                self.seen = owed.status.seq;
                return Some(SidecarEvent::Status(owed.status));
            }
            let event = self.receiver.recv().await;
            if let Some(owed) = self.owed.back_mut() {
                owed.behind = owed.behind.saturating_sub(1);
            }
            match event {
                // The snapshot that stood in for missed events was newer than this.
                Ok(SidecarEvent::Status(status)) if status.seq <= self.seen => {}
                Ok(SidecarEvent::Status(status)) => {
                    self.seen = status.seq;
                    self.owed.retain(|owed| owed.status.seq > status.seq);
                    return Some(SidecarEvent::Status(status));
                }
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    // Whoever lags again is not kept waiting again for what was owed already.
                    self.owed.iter_mut().for_each(|owed| owed.behind = 0);
                    self.owe(self.receiver.len());
                    return Some(SidecarEvent::Missed(missed));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    fn owe(&mut self, behind: usize) {
        let status = Box::new(self.snapshot.borrow().status.clone());
        if self.owed.back().is_none_or(|owed| owed.status.seq < status.seq) {
            self.owed.push_back(Owed { status, behind });
        }
    }
}

/// The status of a sidecar and its changes: the present one first, then each newer one. A slow reader skips what is
/// out of date, and always ends with the truth.
#[derive(Debug)]
pub struct StatusWatch {
    snapshot: watch::Receiver<Snapshot>,
}

impl StatusWatch {
    pub(crate) fn new(mut snapshot: watch::Receiver<Snapshot>) -> Self {
        snapshot.mark_changed();
        Self { snapshot }
    }

    /// Waits for a status that was not handed out yet; `None` once the sidecar is down and its supervisor gone. Nothing
    /// is lost when it is dropped before it is ready.
    pub async fn next(&mut self) -> Option<Status> {
        self.snapshot.changed().await.ok()?;
        Some(self.snapshot.borrow_and_update().status.clone())
    }
}
