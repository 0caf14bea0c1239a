//! What the handles of a sidecar report: snapshots, events, the lines of its output, how its runs ended, and the sentences in them.

pub(crate) mod entry;
pub(crate) mod event_channel;
pub(crate) mod events;
pub(crate) mod exit_report;
pub(crate) mod exit_reports;
pub(crate) mod folder_name;
pub(crate) mod hide_tokens;
pub(crate) mod history;
pub(crate) mod level;
pub(crate) mod log_file;
pub(crate) mod messages;
pub(crate) mod progress;
pub(crate) mod record;
mod report_folder;
pub(crate) mod snapshot;
pub(crate) mod status_messages;
pub(crate) mod unfinished_run;
mod units;
pub(crate) mod usage;
