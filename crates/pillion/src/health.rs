//! Asks a sidecar for its health: until it is ready, and then at intervals (liveness).

pub(crate) mod liveness;
pub(crate) mod probe;
