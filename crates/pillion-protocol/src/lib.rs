//! The contract between a host and its sidecar, as types and parsers.
//!
//! The crate does no I/O, reads no clock and needs no async runtime, so tests can check every rule byte by byte.
//! The normative text is `docs/protocol.md`; this crate is that page in Rust.
//!
//! - [`framing`] cuts a byte stream into lines in bounded memory.
//! - [`announcement`] reads `BACKEND_PORT:{port}` from such a line.
//! - [`progress`] reads `BACKEND_STATUS:{words}` from such a line.
//! - [`ListenAddr`] is the address on which a sidecar listens: a port, or a local socket. On Windows a [`PipeName`] names
//!   the pipe that replaces the socket.
//! - [`health`] is the body of `GET /health`.
//! - [`environment`] names the variables that the host sets for the sidecar.
//! - [`token`] is the token of a run, and the proof that a server holds it.
//! - [`admission`] decides which requests a sidecar answers.
//! - [`defaults`] holds the time-outs and limits that both sides share.
//!
//! # Example
//!
//! A host reads the announcement from the sidecar's stdout:
//!
//! ```
//! use pillion_protocol::{Announcement, LineFramer, ListenAddr};
//!
//! let mut announced = None;
//! let mut framer = LineFramer::new(8 * 1024);
//! framer.feed(b"BACKEND_PORT:4242\n", |line| announced = Announcement::read(&line));
//! let port = 4242.try_into().unwrap();
//! assert_eq!(announced, Some(Announcement::Address(ListenAddr::Tcp(port))));
//! ```

pub mod admission;
pub mod announcement;
mod blocked_ports;
pub mod defaults;
pub mod environment;
pub mod framing;
// Outside of this folder, so that the published package does not contain it.
#[cfg(pillion_fuzzing)]
#[doc(hidden)]
#[path = "../../../fuzz/bodies/protocol.rs"]
pub mod fuzzed;
pub mod health;
mod listen_addr;
mod pipe_name;
pub mod progress;
pub mod token;

pub use admission::{Admission, Decision};
pub use announcement::{Announcement, NearMiss, announcement_line};
pub use blocked_ports::is_blocked_by_browsers;
pub use environment::{HostEnvironment, Instance};
pub use framing::{Line, LineFramer, visible_part};
pub use health::Health;
pub use listen_addr::ListenAddr;
pub use pipe_name::PipeName;
pub use progress::progress_line;
pub use token::{Challenge, Token};

// Compiles the examples of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
