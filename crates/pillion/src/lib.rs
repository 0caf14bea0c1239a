//! A supervisor for sidecars: local servers that a program starts beside itself.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use pillion::{Spec, Supervisor};
//!
//! let (backend, _events) = Supervisor::start(Spec::run("backend", "./backend"));
//! let endpoint = backend.ready().await?; // announced its port, and answered GET /health
//! println!("call it at {}", endpoint.url);
//! let outcome = backend.stop().await; // asked, waited, killed what was left
//! # let _ = outcome;
//! # Ok(())
//! # }
//! ```
//!
//! A sidecar is any program that prints `BACKEND_PORT:{port}` on stdout and answers `GET /health`; the contract is
//! [`pillion_protocol`]. Each sidecar is owned by one task, which alone starts, signals and reaps it, and which is
//! driven by a pure state machine. Its process group is stopped as a whole: asked by the end of stdin and SIGTERM, given
//! a grace period, then killed.

mod fleet;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzed;
mod health;
mod listener;
mod output;
mod report;
mod spawn;
mod spec;
mod state;
mod status;
mod supervisor;
mod sys;
mod transport;

pub use fleet::{Fleet, FleetError};
pub use output::{LINE_LIMIT, OutputBatch, OutputLine, Stream};
pub use pillion_protocol::{self as protocol, Token};
pub use report::{
    events::{Events, SidecarEvent, StatusWatch},
    log::Log,
};
pub use spec::{Inherit, Liveness, Program, Restart, RestartLimit, Spec, Transport};
pub use status::{Detail, Endpoint, Exit, Failure, FailureKind, Readiness, State, Status, StopOutcome};
pub use supervisor::Supervisor;
pub use transport::access::Access;
