//! The checks, one file for each part of the protocol.

pub(super) mod announce;
pub(super) mod environment;
pub(super) mod health;
pub(super) mod life;
pub(super) mod listener;
pub(super) mod requests;
pub(super) mod stop;
