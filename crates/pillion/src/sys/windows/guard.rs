//! The guard on Windows: a second process of this program, which holds the jobs of the sidecars as well. A job is closed, and its
//! processes are killed, when its last handle is: after this program's death, when the guard has given them their grace period.
//!
//! This program starts and stops the sidecars itself. It duplicates the handles that the guard needs into the guard's process, and names
//! them in a [message](message::Message). The end of the guard's stdin says that this program is gone, or that no sidecar is left. A guard
//! that is killed takes nothing along: this program holds its own handles.

mod handles;
mod host;
mod message;
mod program;

pub(super) use host::{Asker, Lent, Watched, watch};
pub(crate) use program::run;
