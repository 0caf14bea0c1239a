//! What it costs to be always there: crashes and how they are got over, doing nothing, and many sidecars at once.

mod clients;
mod crashes;
mod idle;
mod keep;
mod kept;
mod many;
mod recovery;

pub(crate) use keep::Keep;

use super::Section;

pub(crate) const SECTIONS: [Section; 4] = [
    ("A crash: ready again, beside the backend's own cold start", recovery::measure),
    ("Crashes under load: requests lost with and without a listener that is handed over", crashes::measure),
    ("Doing nothing: the supervisor of one sidecar beside a process that only waits", idle::measure),
    ("Many sidecars: the supervisor beside a bare spawn loop of the same program", many::measure),
];
