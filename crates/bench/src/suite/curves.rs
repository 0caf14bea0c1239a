//! The cost as a function of the load, each with its alternative in the same picture.

pub(crate) mod lines;
pub(crate) mod requests;
pub(crate) mod sidecars;
pub(crate) mod streams;
pub(crate) mod windows;
