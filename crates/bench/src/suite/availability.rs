//! The cost of availability: crashes and restarts, and idle time.

mod clients;
mod crashes;
mod holder;
mod holder_process;
mod idle;
mod recovery;

pub(crate) use holder::{Down, Hold, Holder, StartTimes};
pub(crate) use holder_process::HolderProcess;

use super::Section;

pub(crate) const SECTIONS: [Section; 3] = [
    ("A crash: time until ready again, and the backend's own cold start", recovery::measure),
    ("Crashes under load: requests lost with and without a listener handover", crashes::measure),
    ("Idle: the supervisor of one sidecar, and a process that only waits", idle::measure),
];
