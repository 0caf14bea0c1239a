//! Everything that happens to a sidecar, in order.

use std::sync::Arc;

use tokio::sync::{broadcast, watch};

use crate::{output::OutputBatch, status::Status, task::Snapshot};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum SidecarEvent {
    /// Its status changed.
    Status(Box<Status>),
    /// It wrote lines.
    Output(Arc<OutputBatch>),
    /// It did something that its author should know of.
    Notice(String),
    /// The reader was too slow, and this many events are gone. The present status follows.
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
    /// Whether the present status is due.
    due: bool,
    /// The newest status that was handed out.
    seen: u64,
}

impl Events {
    pub(crate) fn new(
        receiver: broadcast::Receiver<SidecarEvent>,
        snapshot: watch::Receiver<Snapshot>,
        from_now: bool,
    ) -> Self {
        Self { receiver, snapshot, due: from_now, seen: 0 }
    }

    /// Waits for the next event; `None` once the sidecar is down and its supervisor gone. Nothing is lost when it is
    /// dropped before it is ready.
    pub async fn next(&mut self) -> Option<SidecarEvent> {
        loop {
            if std::mem::take(&mut self.due) {
                let status = self.snapshot.borrow().status.clone();
                self.seen = status.seq;
                return Some(SidecarEvent::Status(Box::new(status)));
            }
            match self.receiver.recv().await {
                // The snapshot that stood in for missed events was newer than this.
                Ok(SidecarEvent::Status(status)) if status.seq <= self.seen => {}
                Ok(SidecarEvent::Status(status)) => {
                    self.seen = status.seq;
                    return Some(SidecarEvent::Status(status));
                }
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    self.due = true;
                    return Some(SidecarEvent::Missed(missed));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
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
