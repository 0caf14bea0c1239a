//! The socket of `sd_notify(3)`: a program tells there that it is ready, and how far it is.

use std::{io, os::fd::AsFd as _, path::PathBuf};

use rustix::net::sockopt::set_socket_passcred;
use tokio::{io::Interest, net::UnixDatagram, sync::mpsc, task::JoinSet};

use crate::{
    sys::{Datagram, RunProcesses, on_thread, receive_datagram},
    task::task,
    transport::notification::{Notification, Notified},
    transport::unix_socket::{self, Name},
};

/// The longest message that is read, as by systemd (`NOTIFY_BUFFER_MAX`).
const MAX_MESSAGE: usize = 4096;
/// How many messages wait for the driver. A sender waits when these and the kernel's queue are full.
const QUEUE: usize = 16;
/// How many unread messages are read before a question is answered: a run that floods the socket must not keep it open for ever.
const MAX_UNREAD: u32 = 1024;

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

/// The messages of one run. Dropping it closes the socket.
#[derive(Debug)]
pub(crate) struct Notifications {
    messages: mpsc::Receiver<Notified>,
    questions: mpsc::Sender<()>,
    _reading: JoinSet<()>,
}

impl Notifications {
    /// Reads the messages of this run from now on. Those that the socket holds already count.
    pub(crate) fn new(socket: NotifySocket, run: RunProcesses) -> Self {
        let (sender, messages) = mpsc::channel(QUEUE);
        let (questions, asked) = mpsc::channel(1);
        let mut reading = JoinSet::new();
        reading.spawn(task(async move {
            // An error means that the descriptor is broken; the run then goes on as one that says nothing.
            drop(Reader { socket, run, sender }.run(asked).await);
        }));
        Self { messages, questions, _reading: reading }
    }

    /// Asks whether every message that has been sent by now was read: [`Notified::CaughtUp`] follows them.
    pub(crate) fn catch_up(&self) {
        // If it is full, a question is open already.
        let _ = self.questions.try_send(());
    }

    /// Waits for the next message. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Notified {
        match self.messages.recv().await {
            Some(notified) => notified,
            None => std::future::pending().await,
        }
    }
}

/// Reads the socket, and passes the messages on.
struct Reader {
    socket: NotifySocket,
    run: RunProcesses,
    sender: mpsc::Sender<Notified>,
}

impl Reader {
    async fn run(self, mut questions: mpsc::Receiver<()>) -> io::Result<()> {
        let socket = &self.socket.socket;
        loop {
            let mut buffer = [0; MAX_MESSAGE];
            tokio::select! {
                readable = socket.readable() => {
                    readable?;
                    let received = socket.try_io(Interest::READABLE, || receive_datagram(socket.as_fd(), &mut buffer));
                    self.pass_on(received, &buffer).await?;
                }
                Some(()) = questions.recv() => {
                    // Not by tokio's readiness, which this process may not have learned yet if it did not run for a while.
                    for _ in 0..MAX_UNREAD {
                        let received = receive_datagram(socket.as_fd(), &mut buffer);
                        if !self.pass_on(received, &buffer).await? {
                            break;
                        }
                    }
                    self.send(Notified::CaughtUp).await?;
                }
            }
        }
    }

    /// Checks the sender of a message, and passes the message on. Returns whether more may follow.
    async fn pass_on(&self, received: io::Result<Datagram>, buffer: &[u8]) -> io::Result<bool> {
        // The descriptors are closed after the sender is checked: `sd_notify_barrier(3)` keeps the sender alive until then.
        let datagram = match received {
            Ok(datagram) => datagram,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let run = self.run;
        let is_of_run = match datagram.sender {
            Some(sender) => on_thread(move || run.contains(sender)).await.unwrap_or(false),
            None => false,
        };
        let notification = Notification::read(&buffer[..datagram.length]);
        if !is_of_run {
            self.send(Notified::Other(datagram.sender)).await?;
        } else if !datagram.truncated && notification != Notification::default() {
            self.send(Notified::Run(notification)).await?;
        }
        Ok(true)
    }

    async fn send(&self, notified: Notified) -> io::Result<()> {
        self.sender.send(notified).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn other_processes_find_the_socket_by_its_path_and_no_file_is_left() {
        let socket = NotifySocket::bind().unwrap();
        let path = socket.path();
        assert!(path.starts_with(format!("/proc/{}/fd", std::process::id())), "{path:?}");
        let script = "import socket, os, sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', sys.argv[1])";
        let sent = tokio::process::Command::new("python3").args(["-c", script]).arg(&path).status();
        assert!(sent.await.unwrap().success());
        let mut buffer = [0; 64];
        let datagram = receive_datagram(socket.socket.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..datagram.length], b"READY=1");
    }

    #[tokio::test]
    async fn what_was_sent_before_a_question_comes_before_its_answer() {
        let socket = NotifySocket::bind().unwrap();
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        sender.connect(socket.path()).unwrap();
        let me = rustix::process::getpid();
        let mut notifications = Notifications::new(socket, RunProcesses::new(me, me));
        for round in 0..50 {
            sender.send(b"WATCHDOG=1").unwrap();
            notifications.catch_up();
            let first = notifications.next().await;
            assert!(matches!(first, Notified::Run(_)), "{round}: {first:?}");
            assert_eq!(notifications.next().await, Notified::CaughtUp);
        }
    }
}
