//! `pillion package` as its users see it: projects on disk, real builds, and the programs that they make.
//!
//! Most builds need tools that `cargo xtask test` provides (Go, npm); those that take long run with `cargo xtask template-apps`.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "clippy does not recognise this crate as test code")]

mod cache;
mod project;
mod runtimes;
mod targets;
