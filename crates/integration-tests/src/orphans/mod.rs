//! The death of an app, and the processes that it leaves behind: each way to die with each kind of sidecar.

mod death;
mod host;
mod kind;
mod launcher;
pub mod onefile;
mod scenario;

pub use death::Death;
pub use host::{HostKind, Programs, terminal};
pub use kind::SidecarKind;
pub use launcher::Launcher;
pub use scenario::{Moment, Outcome, Scenario};
