//! What the handles of a sidecar report: snapshots, events, and the sentences in them.

pub(crate) mod events;
pub(crate) mod messages;
pub(crate) mod progress;
pub(crate) mod snapshot;
