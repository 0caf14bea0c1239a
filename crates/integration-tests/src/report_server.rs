//! A channel from the processes of a test to the test, besides their standard streams. It shows that a process has reached
//! a step, and that it has died.

use std::{io, net::Ipv4Addr};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// The server to which `fake-sidecar` connects in its step `report`.
#[derive(Debug)]
pub struct ReportServer(TcpListener);

/// A process that has reported. It holds its connection open until it dies.
#[derive(Debug)]
pub struct Reporter {
    /// The text of its report.
    pub text: String,
    stream: BufReader<TcpStream>,
}

impl ReportServer {
    /// Listens on a port that the system chooses.
    ///
    /// # Panics
    /// If the system has no free port.
    pub async fn new() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port"))
    }

    /// The port to which processes report.
    ///
    /// # Panics
    /// Never: a listener has an address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("a listener has an address").port()
    }

    /// Waits for the next report.
    ///
    /// # Panics
    /// If the process dies before the end of the line.
    pub async fn next(&self) -> Reporter {
        self.next_complete().await.expect("the process reported a whole line")
    }

    /// Waits for the next connection. Returns `None` if the process dies before the end of the line.
    ///
    /// # Panics
    /// If the system has no free descriptor.
    pub async fn next_complete(&self) -> Option<Reporter> {
        let (stream, _) = self.0.accept().await.expect("a listener accepts");
        let mut reporter = Reporter { text: String::new(), stream: BufReader::new(stream) };
        reporter.text = reporter.line().await.ok()?;
        Some(reporter)
    }

    /// Waits for the next report, which must be `text`.
    ///
    /// # Panics
    /// If it is another text.
    pub async fn wait_for(&self, text: &str) -> Reporter {
        let reporter = self.next().await;
        assert_eq!(reporter.text, text);
        reporter
    }
}

impl Reporter {
    /// Ends the step `wait` of the process.
    ///
    /// # Panics
    /// If the process is dead.
    pub async fn resume(&mut self) {
        self.send("\n").await;
    }

    /// Ends the step `wait` of a process that may have died.
    pub async fn resume_if_alive(&mut self) {
        let _ = self.stream.write_all(b"\n").await;
    }

    /// Sends a text to a process that reads from its connection.
    ///
    /// # Panics
    /// If the process is dead.
    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the process is alive");
    }

    /// Waits for another line. Returns `None` if the process dies first.
    pub async fn next_line(&mut self) -> Option<String> {
        self.line().await.ok()
    }

    /// Waits until the process is dead, and each process to which it has passed the connection.
    pub async fn wait_closed(&mut self) {
        // The system resets the connection of a process that dies before it has read everything.
        let _ = self.stream.read_to_end(&mut Vec::new()).await;
    }

    /// Waits until the process is dead: its death closes the connection, whatever killed it.
    ///
    /// # Panics
    /// If the process reports something else first.
    pub async fn wait_death(mut self) {
        let mut rest = Vec::new();
        // The system resets the connection of a process that dies before it has read everything.
        let _ = self.stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "the process reported more: {}", rest.escape_ascii());
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        line.strip_suffix('\n').map(str::to_owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
