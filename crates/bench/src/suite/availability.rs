//! The cost of availability: crashes and restarts, idle time, and many sidecars at once.

mod clients;
mod crashes;
mod holder;
mod holder_process;
mod idle;
mod many;
mod recovery;

pub(crate) use holder::Hold;

use super::Section;

pub(crate) const SECTIONS: [Section; 4] = [
    ("A crash: time until ready again, and the backend's own cold start", recovery::measure),
    ("Crashes under load: requests lost with and without a listener handover", crashes::measure),
    ("Idle: the supervisor of one sidecar, and a process that only waits", idle::measure),
    ("Many sidecars: the supervisor, and a bare spawn loop of the same program", many::measure),
];
