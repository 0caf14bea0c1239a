//! The vectors of [docs/protocol](../../../docs/protocol/README.md): their types, and a runner for those that test a sidecar.
//!
//! [`Subject`] is the program under test. [`requests`] sends the requests of admission.json, websocket.json and proof.json to it,
//! byte by byte as they are written there; [`environments`] starts it with the variables of environment.json. Both return one text
//! for each vector that failed. The crate does not use `pillion-protocol`, so that its verdicts do not depend on the code under test.

mod answer;
mod data;
#[cfg(unix)]
mod environments;
#[cfg(unix)]
mod requests;
#[cfg(unix)]
mod subject;

pub use data::{
    AddressKind, AnnouncementVector, Announcements, EnvironmentVector, Environments, Level, Listens, Outcome,
    Platform, ProofVector, Read, RequestVector, Requests, Variables, hmac_proof, load,
};
#[cfg(unix)]
pub use environments::environments;
#[cfg(unix)]
pub use requests::requests;
#[cfg(unix)]
pub use subject::Subject;
