//! Starts a sidecar's process: its environment, its launch, and the reason if it cannot be started.

pub(crate) mod environment;
pub(crate) mod launch;
pub(crate) mod spawn_error;
