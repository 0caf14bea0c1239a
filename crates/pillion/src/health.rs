//! Asks a sidecar for its health: until it is ready, and then at intervals (liveness).

pub(crate) mod exec;
pub(crate) mod liveness;
mod open_probes;
pub(crate) mod probe;
