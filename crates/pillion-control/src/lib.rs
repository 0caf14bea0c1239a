//! The control socket of a running app, through which programs of the same user look at its sidecars.
//!
//! The app [serves](serve) it. A client [finds](discover) the running apps, and [asks](DiscoveredApp::request) one of them.
//!
//! # Where it is
//! On Unix it is a socket with the name `PID-RANDOM.sock` and the mode 0600, in a directory that only its user can open (0700):
//! `$XDG_RUNTIME_DIR/pillion`, or `pillion-UID` in the directory for temporary files if that variable is not set or names no directory of
//! this user. A directory of another user, a symbolic link, and one that others can open are refused. There both sides check the user of the
//! peer. On Windows it is the named pipe `\\.\pipe\pillion-control-PID-RANDOM`, which only its user can open. A client checks there that the
//! process of the name serves the pipe, and lets it act as the user in nothing; it does not check the user of that process.
//!
//! # The protocol
//! Each side writes lines of JSON, UTF-8, with `\n` at their ends. Readers ignore unknown fields.
//!
//! 1. The app writes a [`Greeting`]: the version of this protocol, which app it is, and what it allows.
//!    `{"pillionControl":1,"app":{"name":"AIOS","identifier":"com.example.aios","version":"0.1.0","pid":4711},"control":"read"}`
//! 2. The client writes one [`ControlRequest`] of at most [`REQUEST_LIMIT`] bytes within 10 s, such as
//!    `{"request":"logs","sidecar":"backend","tail":20,"follow":true}`.
//! 3. The app writes each [`ControlAnswer`] as soon as it has it, such as `{"answer":"status","status":{…}}`. The last one is
//!    `{"answer":"done"}` or `{"answer":"error","kind":"unknownSidecar","message":"…"}`. Then it closes the connection. An end without one
//!    of them means that the app has ended.
//!
//! A further request needs a connection of its own. A client that has enough closes its connection. One that closes only its
//! side for writing gets the whole answer; `watch`, `usage`, and `logs` that follow, then end with what is there. At most [`CONNECTION_LIMIT`]
//! clients are served at once; a further one gets the error `busy`. A client that reads slowly never delays a sidecar: it loses
//! outdated statuses, and lines of output, whose number it is told (`missed`).
//!
//! With `"control":"read"` the app answers `status`, `watch`, `logs`, `exitReports`, `usage` and `diagnose`; with `"full"` also `restart`.
//! No answer contains the token of a sidecar, unless the sidecar itself writes it to its output.
//!
//! A later version of the protocol adds requests, answers and fields; an app answers an unknown request with the error
//! `unknownRequest`. A change that older clients would misunderstand gets another number in the greeting, which they refuse.

mod client;
mod control_socket;
mod error;
mod line;
mod protocol;
mod server;
mod session;
mod task;

pub use client::{AnswerStream, DiscoveredApp, Discovery, discover};
pub use error::{ClientError, ControlError};
pub use protocol::{
    AppInfo, CONNECTION_LIMIT, ControlAnswer, ControlLevel, ControlRequest, Greeting, PROTOCOL_VERSION,
    REQUEST_LIMIT, RefusalKind,
};
pub use server::{ControlSocket, serve};
