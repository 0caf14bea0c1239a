//! What is kept about a sidecar: the lines of its output.

mod ansi;
pub(crate) mod entry;
pub(crate) mod history;
pub(crate) mod level;
