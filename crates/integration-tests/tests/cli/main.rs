//! `pillion run` as its users see it: a process with arguments, signals, two streams and an exit status.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

mod arguments;
mod control;
mod control_clients;
mod control_directory;
mod control_usage;
mod doctor;
mod init;
mod json;
mod login_shell;
mod outcomes;
mod port;
mod ready;
mod report;
mod signals;
mod stdin;
mod streams;
mod support;
mod top;
