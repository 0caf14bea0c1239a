//! The cost as a function of the load, each with its alternative in the same picture.

mod lines;
mod sidecars;

use super::Section;

pub(crate) const SECTIONS: [Section; 2] = [
    ("Many sidecars: the supervisor, and a bare spawn loop of the same program", sidecars::measure),
    ("Lines per second: the supervisor, and a bare read loop", lines::measure),
];
