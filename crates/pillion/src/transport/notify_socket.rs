//! The socket of `sd_notify(3)`: a program tells there that it is ready, and how far it is.

use std::{io, os::fd::AsFd as _, path::PathBuf, time::Duration};

use pillion_protocol::progress;
use rustix::net::sockopt::set_socket_passcred;
use tokio::{io::Interest, net::UnixDatagram, sync::mpsc, task::JoinSet};

use crate::{
    sys::{Datagram, RunProcesses, on_thread, receive_datagram},
    transport::unix_socket::{self, Name},
};

/// The longest message that is read, as by systemd (`NOTIFY_BUFFER_MAX`).
const MAX_MESSAGE: usize = 4096;
/// How many messages wait for the driver. A sender waits when these and the kernel's queue are full.
const QUEUE: usize = 16;

/// A bound socket, whose messages nothing reads yet.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: UnixDatagram,
    name: Name,
}

impl NotifySocket {
    /// Binds a socket that other users cannot reach. Needs the context of a tokio runtime with I/O.
    pub(crate) fn bind() -> io::Result<Self> {
        let (socket, name) = unix_socket::bind_with(|path| {
            let socket = std::os::unix::net::UnixDatagram::bind(path)?;
            // Before the program knows the path: the kernel names the sender of each message.
            set_socket_passcred(&socket, true)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        })?;
        Ok(Self { socket: UnixDatagram::from_std(socket)?, name })
    }

    /// The value of `NOTIFY_SOCKET`.
    pub(crate) fn path(&self) -> PathBuf {
        self.name.path_for_others()
    }
}

/// A message of the run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Notification {
    /// `READY=1`: it is ready.
    pub(crate) ready: bool,
    /// `STOPPING=1`: it stops by itself.
    pub(crate) stopping: bool,
    /// `STATUS=`: how far it is.
    pub(crate) status: Option<String>,
    /// `EXTEND_TIMEOUT_USEC=`: it needs so much more time.
    pub(crate) extend: Option<Duration>,
}

impl Notification {
    /// Reads the assignments that this host knows. Of several of one name, the last one counts.
    fn read(message: &[u8]) -> Self {
        let mut read = Self::default();
        for line in message.split(|byte| *byte == b'\n') {
            if line == b"READY=1" {
                read.ready = true;
            } else if line == b"STOPPING=1" {
                read.stopping = true;
            } else if let Some(words) = line.strip_prefix(b"STATUS=") {
                read.status = Some(progress::words(words));
            } else if let Some(number) = line.strip_prefix(b"EXTEND_TIMEOUT_USEC=") {
                let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
                read.extend = number.map(Duration::from_micros);
            }
        }
        read
    }
}

/// What came over the socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notified {
    /// A message of the run.
    Run(Notification),
    /// A message of a process that is not of the run, or that has ended already.
    Other(Option<i32>),
}

/// The messages of one run. Dropping it closes the socket.
#[derive(Debug)]
pub(crate) struct Notifications {
    messages: mpsc::Receiver<Notified>,
    _task: JoinSet<()>,
}

impl Notifications {
    /// Reads the messages of this run from now on. Those that the socket holds already count.
    pub(crate) fn new(socket: NotifySocket, run: RunProcesses) -> Self {
        let (sender, messages) = mpsc::channel(QUEUE);
        let mut task = JoinSet::new();
        task.spawn(async move {
            // An error means that the descriptor is broken; the run then goes on as one that says nothing.
            while let Ok(notified) = receive(&socket, run).await {
                if sender.send(notified).await.is_err() {
                    return;
                }
            }
        });
        Self { messages, _task: task }
    }

    /// Waits for the next message. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Notified {
        match self.messages.recv().await {
            Some(notified) => notified,
            None => std::future::pending().await,
        }
    }
}

async fn receive_one(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<Datagram> {
    loop {
        socket.readable().await?;
        match socket.try_io(Interest::READABLE, || receive_datagram(socket.as_fd(), buffer)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            received => return received,
        }
    }
}

async fn receive(socket: &NotifySocket, run: RunProcesses) -> io::Result<Notified> {
    loop {
        let mut buffer = [0; MAX_MESSAGE];
        // The descriptors are closed after the sender is checked: `sd_notify_barrier(3)` keeps the sender alive until then.
        let datagram = receive_one(&socket.socket, &mut buffer).await?;
        let is_of_run = match datagram.sender {
            Some(sender) => on_thread(move || run.contains(sender)).await.unwrap_or(false),
            None => false,
        };
        if !is_of_run {
            return Ok(Notified::Other(datagram.sender));
        }
        let notification = Notification::read(&buffer[..datagram.length]);
        if !datagram.truncated && notification != Notification::default() {
            return Ok(Notified::Run(notification));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_assignments_of_a_message_are_read() {
        let message = b"READY=1\nSTATUS=Loading \x1b[1mmodel\x1b[0m\t42%\nEXTEND_TIMEOUT_USEC=2500000\nMAINPID=1\nWATCHDOG=1";
        let read = Notification::read(message);
        assert_eq!(
            read,
            Notification {
                ready: true,
                stopping: false,
                status: Some("Loading model 42%".to_owned()),
                extend: Some(Duration::from_millis(2500)),
            }
        );
        assert!(Notification::read(b"STOPPING=1\n").stopping);
        for other in
            ["", "READY=0", "READY", "ready=1", "READY=1 ", "EXTEND_TIMEOUT_USEC=-1", "BARRIER=1", "\0"]
        {
            assert_eq!(Notification::read(other.as_bytes()), Notification::default(), "{other:?}");
        }
    }

    #[tokio::test]
    async fn other_processes_find_the_socket_by_its_path_and_no_file_is_left() {
        let socket = NotifySocket::bind().unwrap();
        let path = socket.path();
        assert!(path.starts_with(format!("/proc/{}/fd", std::process::id())), "{path:?}");
        let script = "import socket, os, sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', sys.argv[1])";
        let sent = tokio::process::Command::new("python3").args(["-c", script]).arg(&path).status();
        assert!(sent.await.unwrap().success());
        let mut buffer = [0; 64];
        let datagram = receive_one(&socket.socket, &mut buffer).await.unwrap();
        assert_eq!(&buffer[..datagram.length], b"READY=1");
    }
}
