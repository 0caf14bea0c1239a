//! A real Chromium, pages of somebody else for it to show, and what these try against servers on loopback.

mod attacker_server;
mod chromium;
mod resolver;

pub use attacker_server::{AttackerServer, PAGE};
pub use chromium::{Chromium, Learned};
pub use resolver::Resolver;

/// What a handler tells, and no page of somebody else may read.
pub const SECRET: &str = "only-for-the-app";
