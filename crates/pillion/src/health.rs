//! Asks a sidecar for its health: until it is ready, and from then on at intervals.

pub(crate) mod liveness;
pub(crate) mod probe;
