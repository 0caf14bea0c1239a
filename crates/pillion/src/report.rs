//! What the handles of a sidecar report: snapshots, events, log entries, and the sentences in them.

pub(crate) mod events;
pub(crate) mod log;
pub(crate) mod messages;
pub(crate) mod progress;
pub(crate) mod snapshot;
