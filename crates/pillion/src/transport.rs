//! How requests reach a sidecar: over a TCP port, a Unix domain socket, or a named pipe (Windows).

pub(crate) mod access;
pub(crate) mod connector;
pub(crate) mod handover;
#[cfg(windows)]
pub(crate) mod named_pipe;
pub(crate) mod notification;
#[cfg(target_os = "linux")]
pub(crate) mod notify_socket;
#[cfg(not(target_os = "linux"))]
#[path = "transport/no_notify_socket.rs"]
pub(crate) mod notify_socket;
pub(crate) mod port_reservation;
#[cfg(unix)]
pub(crate) mod unix_socket;
