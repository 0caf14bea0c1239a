//! The contract between a host and its sidecar, as types and parsers.
//!
//! Nothing here does I/O, reads a clock or needs an async runtime, so every rule can be tested byte by byte.
//! The normative text is `docs/protocol.md`; this crate is that page in Rust.
//!
//! - [`framing`] cuts a byte stream into lines in bounded memory.
//! - [`announcement`] reads `BACKEND_PORT:{port}` from such a line.
//! - [`ListenAddr`] is where a sidecar serves: a port, or a socket; [`PipeName`] is what stands for that on Windows.
//! - [`health`] is the body of `GET /health`.
//! - [`environment`] names what the host gives to the sidecar.
//! - [`token`] is the token of a run, and the proof that a server holds it.
//! - [`admission`] decides which requests a sidecar answers.

pub mod admission;
pub mod announcement;
pub mod environment;
pub mod framing;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzed;
pub mod health;
mod listen_addr;
mod pipe_name;
pub mod token;

pub use admission::{Admission, Decision};
pub use announcement::{Announcement, announcement_line};
pub use environment::{HostEnvironment, Instance};
pub use framing::{Line, LineFramer};
pub use health::Health;
pub use listen_addr::ListenAddr;
pub use pipe_name::PipeName;
pub use token::{Challenge, Token};
