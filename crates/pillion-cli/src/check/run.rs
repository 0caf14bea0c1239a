//! One run of the program: its address, its streams, its signals, and requests to it.

use std::{
    fmt,
    io::{self, BufReader, Read, Write},
    net::TcpStream,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pillion::{Exit, protocol::ListenAddr};
use pillion_vectors::{Address, Answer, Descriptor3, Server};
use rustix::process::{Pid, Signal, kill_process};

use super::{harness::TOKEN, registry::Owner, watch::Watch};

/// How often a refused connection is tried again.
const RETRY: Duration = Duration::from_millis(10);
/// The pause between two health requests.
const HEALTH_PAUSE: Duration = Duration::from_millis(50);

/// A program that was started. Dropping it kills all of its processes.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) watch: Arc<Watch>,
    pub(super) began: Instant,
    /// The longest wait for an answer.
    timeout: Duration,
    address: Address,
    /// The end of stdin that this process holds.
    pub(super) lifeline: Option<OwnedFd>,
    /// The listener that the program inherited.
    pub(super) third: Option<Descriptor3>,
    /// Closed after the processes are gone.
    _holder: UnixStream,
    /// `None` after [`Run::kill`].
    owner: Option<Owner>,
}

/// What a program answers to the health requests of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// A 2xx, after so many other answers.
    Good(u32),
    /// Another status, until the time was over or the program ended.
    Bad,
    /// Nothing, until the time was over.
    Silent,
}

/// A connection to the program.
#[derive(Debug)]
pub(super) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Run {
    pub(super) fn new(
        watch: Arc<Watch>,
        began: Instant,
        timeout: Duration,
        lifeline: Option<OwnedFd>,
        third: Option<Descriptor3>,
        holder: UnixStream,
        owner: Owner,
    ) -> Self {
        let address = Address::Tcp(0);
        Self { watch, began, timeout, address, lifeline, third, _holder: holder, owner: Some(owner) }
    }

    /// Takes the announced address.
    pub(super) fn announced(mut self, addr: ListenAddr) -> Self {
        self.address = match (addr, self.third.as_ref().and_then(|third| third.address.clone())) {
            (ListenAddr::Tcp(port), _) => Address::Tcp(port.get()),
            (ListenAddr::Local, Some(address @ Address::Unix(_))) => address,
            // An announced socket that was not passed: nothing listens at port 0.
            (ListenAddr::Local, _) => Address::Tcp(0),
        };
        self
    }

    /// The process id of the program, while the holder has not reaped it: until [`Run::kill`], or the end of this value.
    pub(super) fn pid(&self) -> Option<u32> {
        self.watch.wait(self.timeout, |seen| seen.pid)
    }

    /// The process id of the holder.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "only Linux tells which processes belong to a run")
    )]
    pub(super) fn holder(&self) -> Option<u32> {
        self.owner.as_ref()?.supervisor.status().pid
    }

    /// Kills the processes of the run, and returns when none is left.
    pub(super) fn kill(&mut self) {
        self.owner = None;
    }

    /// Signals the program. After [`Run::kill`], its number may be that of another process: an error.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = self
            .owner
            .as_ref()
            .and_then(|_| self.pid())
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        Ok(kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal)?)
    }

    pub(super) fn exit(&self) -> Option<(Exit, Instant)> {
        self.watch.seen().exit
    }

    /// Waits for the end of the program, and for what it wrote.
    pub(super) fn wait_exit(&self, limit: Duration) -> Option<(Exit, Instant)> {
        self.watch.wait(limit, |seen| seen.exit)
    }

    /// Everything that the program wrote. Kills what is left of it, so that the streams end.
    pub(super) fn output(self) -> (Vec<u8>, Vec<u8>) {
        let (watch, timeout) = (Arc::clone(&self.watch), self.timeout);
        drop(self);
        let _ = watch.wait(timeout, |seen| (seen.ended_streams == 2).then_some(()));
        let mut seen = watch.seen();
        (std::mem::take(&mut seen.stdout), std::mem::take(&mut seen.stderr))
    }

    /// Connects once.
    pub(super) fn connect_once(&self) -> io::Result<Connection> {
        let connection = match &self.address {
            Address::Tcp(port) => Connection::Tcp(TcpStream::connect(("127.0.0.1", *port))?),
            Address::Unix(path) => Connection::Unix(UnixStream::connect(path)?),
        };
        connection.set_timeout(self.timeout)?;
        Ok(connection)
    }

    /// Connects, even if the program accepts connections only later, as a host does.
    pub(super) fn connect(&self) -> io::Result<Connection> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.connect_once() {
                Err(error)
                    if error.kind() == io::ErrorKind::ConnectionRefused
                        && self.exit().is_none()
                        && Instant::now() < deadline =>
                {
                    thread::sleep(RETRY);
                }
                connected => return connected,
            }
        }
    }

    /// The head of a request with `Host`, and with the token if there is one.
    pub(super) fn head(&self, request: &str, private: bool) -> String {
        let token = if private { format!("Authorization: Bearer {TOKEN}\r\n") } else { String::new() };
        format!("{request} HTTP/1.1\r\nHost: {}\r\n{token}", self.address.host())
    }

    /// Waits until health is answered with a 2xx, as a host does.
    pub(super) fn wait_healthy(&self, private: bool) -> Health {
        let deadline = Instant::now() + self.timeout;
        let mut before = 0;
        loop {
            let answer = self.get("GET /health", private);
            match answer {
                Ok(answer) if (200..300).contains(&answer.status) => return Health::Good(before),
                // Only a server that is not ready yet says so: a path that does not exist will not come.
                Ok(answer) if answer.status < 500 => return Health::Bad,
                Err(_) if Instant::now() >= deadline && self.exit().is_none() => return Health::Silent,
                _ if Instant::now() >= deadline || self.wait_exit(HEALTH_PAUSE).is_some() => {
                    return Health::Bad;
                }
                _ => before += 1,
            }
        }
    }

    /// The answer to a request without a body.
    pub(super) fn get(&self, request: &str, private: bool) -> anyhow::Result<Answer> {
        let head = self.head(request, private);
        self.exchange(format!("{head}Connection: close\r\n\r\n").as_bytes(), !request.starts_with("HEAD "))
    }
}

impl Server for Run {
    fn address(&self) -> &Address {
        &self.address
    }

    fn exchange(&self, request: &[u8], has_body: bool) -> anyhow::Result<Answer> {
        let mut connection = self.connect()?;
        // The server may answer and close before it has read everything.
        let _ = connection.write_all(request);
        Answer::read(&mut BufReader::new(connection), has_body)
    }
}

impl Connection {
    pub(super) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Self::Unix(stream) => stream.set_read_timeout(Some(timeout)),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An address for a message.
pub(super) struct Shown<'a>(pub(super) &'a Address);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Address::Tcp(port) => write!(f, "port {port}"),
            Address::Unix(_) => f.write_str("the local socket"),
        }
    }
}
