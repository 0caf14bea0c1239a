//! Asks a sidecar for its health: until it is ready, and then at intervals (liveness); or waits for `WATCHDOG=1`.

mod common_ticks;
pub(crate) mod exec;
pub(crate) mod hang_reason;
pub(crate) mod liveness;
pub(crate) mod memory;
pub(crate) mod not_ready;
mod open_probes;
pub(crate) mod probe;
mod probe_span;
pub(crate) mod watchdog;
