//! The death of an app, and what it leaves behind: each way to die against each kind of sidecar.

mod death;
mod host;
mod kind;
mod scenario;

pub use death::Death;
pub use host::{Programs, Through};
pub use kind::Kind;
pub use scenario::{Moment, Outcome, Scenario};
