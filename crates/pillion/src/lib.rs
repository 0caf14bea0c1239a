//! A supervisor for sidecars: local servers that a program starts beside itself.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use pillion::{Spec, Supervisor};
//!
//! let (backend, _events) = Supervisor::start(Spec::run("backend", "./backend"));
//! let endpoint = backend.ready().await?; // it announced its port and answered GET /health
//! println!("call it at {}", endpoint.base_url()?);
//! let outcome = backend.stop().await; // asks it to end, waits for the grace period, kills the rest
//! # let _ = outcome;
//! # Ok(())
//! # }
//! ```
//!
//! By default, a sidecar prints `BACKEND_PORT:{port}` on stdout and answers `GET /health`; [`pillion_protocol`] is the contract, and
//! [`Spec`] declares other ways. One task, the actor, owns each sidecar: only the actor starts, signals and reaps its processes, and a pure
//! state machine decides what it does. A stop asks the leader first, by the end of its stdin and SIGTERM unless the [`StopRequest`] says
//! otherwise, then the other processes of the group, and kills those that are left after the grace period.
//!
//! [`Spec`] and [`Program`] describe a sidecar, [`Supervisor`] runs one and [`Fleet`] several. [`Events`], [`StatusWatch`] and [`Logs`]
//! report what happens; [`Access`] holds what a request needs.

#[cfg(any(target_os = "android", target_os = "ios"))]
compile_error!(
    "apps for Android and iOS cannot start other programs: in Cargo.toml, name `pillion` under \
     [target.'cfg(not(any(target_os = \"android\", target_os = \"ios\")))'.dependencies]"
);

mod alarm;
mod diagnosis;
mod fleet;
// Outside of this folder, so that the published package does not contain it.
#[cfg(pillion_fuzzing)]
#[doc(hidden)]
#[path = "../../../fuzz/bodies/supervisor.rs"]
pub mod fuzzed;
pub mod guard;
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
mod task;
mod terminal;
mod transport;
mod wall_clock;

pub use diagnosis::{Diagnosis, DiagnosisFile};
pub use fleet::{Fleet, FleetError};
pub use output::{LINE_LIMIT, OutputBatch, OutputLine, UnfinishedLine};
pub use pillion_protocol::{self as protocol, Token};
pub use report::{
    entry::{Log, LogEntry, LogQuery},
    events::{Events, SidecarEvent, StatusWatch},
    exit_report::{EndReason, ExitReport, Killed},
    history::Logs,
    level::Level,
    status_messages::{MessageTone, StatusMessage, StatusMessages},
    usage::{Usage, UsageWatch},
};
pub use spec::{
    ExecCheck, HttpCheck, HttpStopRequest, Inherit, InvalidExpression, InvalidPlaceholder, InvalidSpec,
    InvalidStopRequest, LineCheck, Listen, Liveness, LogFiles, Program, ProgramStdin, ReadyCheck, Restart,
    RestartLimit, Spec, StopRequest, StopScope, StopSignal, Transport,
};
pub use status::{
    Detail, Endpoint, Exit, Failure, FailureKind, KillReason, MemoryKind, OutputStream, Readiness, State,
    Status, StopOutcome,
};
pub use supervisor::{Lease, Supervisor};
pub use terminal::TerminalOutput;
pub use transport::access::Access;

// Compiles the examples of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
