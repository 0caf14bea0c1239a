//! The vectors of [docs/protocol](../../../docs/protocol/README.md): their types, and a runner for those that test a sidecar.
//!
//! [`Subject`] is the program under test. [`requests`] sends the requests of admission.json, websocket.json and proof.json to it,
//! byte by byte as they are written there, and [`check_request`] one of them to any [`Server`]; [`environments`] starts it with the
//! variables of environment.json. Both return one text for each vector that failed. The crate does not use `pillion-protocol`, so that its
//! verdicts do not depend on the code under test.

mod answer;
mod data;
#[cfg(unix)]
mod descriptors;
#[cfg(unix)]
mod environments;
#[cfg(target_os = "linux")]
mod listeners;
mod requests;
mod server;
#[cfg(unix)]
mod subject;

pub use answer::Answer;
pub use data::{
    AddressKind, AnnouncementVector, Announcements, EnvironmentVector, Environments, ExpectedReading,
    Listens, Outcome, Platform, ProgressFile, ProgressLine, ProgressVector, ProofVector, RequestVector,
    Requests, Requirement, Variables, hmac_proof, load,
};
#[cfg(unix)]
pub use descriptors::Descriptor3;
#[cfg(unix)]
pub use environments::environments;
#[cfg(target_os = "linux")]
pub use listeners::listening;
#[cfg(unix)]
pub use requests::requests;
pub use requests::{Aspect, Mismatch, check_request};
pub use server::{Address, Handlers, Server};
#[cfg(unix)]
pub use subject::Subject;
