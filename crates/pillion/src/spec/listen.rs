//! Where a sidecar listens.

use std::num::NonZeroU16;

/// Where a program listens, and how the supervisor learns of it.
///
/// ```
/// use pillion::{Listen, Program};
///
/// // The program reads its port from PORT, as many servers do.
/// let backend = Program::new("./backend").listen(Listen::Assigned).port_env("PORT");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Listen {
    /// Where the sidecar announces it: it prints `BACKEND_PORT:{port}` on stdout.
    #[default]
    Announced,
    /// On a free port of 127.0.0.1, which the supervisor chooses before each start, if possible that of the run before. The sidecar
    /// needs no announcement. The supervisor holds the port bound until just before it starts the program, and gives no two
    /// sidecars of this process the same one. Another program can take the port in the moment between; the sidecar then cannot
    /// listen, and its start fails.
    Assigned,
    /// On this port of 127.0.0.1. The sidecar needs no announcement. If the port is taken, the start fails at once, and the failure
    /// names the program that has it. Such a sidecar can be restarted, but not swapped: a swap needs a second port.
    Fixed(NonZeroU16),
}
