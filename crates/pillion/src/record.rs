//! What is kept about a sidecar: the lines of its output, and how its runs ended.

mod ansi;
pub(crate) mod entry;
pub(crate) mod exit_report;
pub(crate) mod exit_reports;
pub(crate) mod history;
pub(crate) mod level;
mod report_folder;
pub(crate) mod unfinished_run;
