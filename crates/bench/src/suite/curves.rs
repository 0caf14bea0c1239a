//! The cost as a function of the load, each with its alternative in the same picture.

mod lines;
mod requests;
mod sidecars;
mod streams;
mod windows;

use super::Section;

pub(crate) const SECTIONS: [Section; 5] = [
    ("Many sidecars: the supervisor, and a bare spawn loop of the same program", sidecars::measure),
    ("Lines per second: the supervisor, and a bare read loop", lines::measure),
    ("Requests from the webview, by the size of the body", requests::measure),
    ("Open event streams, by way of the app", streams::measure),
    ("Windows: pages that ask the sidecar, and pages that do not", windows::measure),
];
