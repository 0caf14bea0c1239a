//! The death of an app, and the processes that it leaves behind: each way to die with each kind of sidecar.

mod death;
mod host;
mod kind;
mod scenario;

pub use death::Death;
pub use host::{HostKind, Programs, terminal};
pub use kind::SidecarKind;
pub use scenario::{Moment, Outcome, Scenario};
