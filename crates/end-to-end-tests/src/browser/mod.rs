//! A real Chromium with the pages of an attacker, and their attacks on servers on loopback.

mod attacker_server;
mod chromium;
mod resolver;

pub use attacker_server::{AttackerServer, PAGE};
pub use chromium::{Chromium, Learned};
pub use resolver::DnsServer;

/// The answer of a handler. No foreign page may read it.
pub const SECRET: &str = "only-for-the-app";
