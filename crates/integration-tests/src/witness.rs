//! What a process tells the test by another way than its standard streams: that it came to a step, and that it died.

use std::{io, net::Ipv4Addr};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// Where `fake-sidecar` reports to with its step `tell`.
#[derive(Debug)]
pub struct Witness(TcpListener);

/// A connection that a process made with `tell`, and holds until it dies.
#[derive(Debug)]
pub struct Contact {
    /// What it told.
    pub text: String,
    stream: BufReader<TcpStream>,
}

impl Witness {
    /// Listens on a port of its own.
    ///
    /// # Panics
    /// Where the system has no port left.
    pub async fn new() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port"))
    }

    /// The port to tell to.
    ///
    /// # Panics
    /// Never: a listener has an address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("a listener has an address").port()
    }

    /// Waits for the next process that tells something.
    ///
    /// # Panics
    /// Where it breaks off within the line.
    pub async fn next(&self) -> Contact {
        self.heard().await.expect("the process told a whole line")
    }

    /// Waits for the next process; nothing if it was killed before it told a whole line.
    ///
    /// # Panics
    /// Where the system has no descriptor left.
    pub async fn heard(&self) -> Option<Contact> {
        let (stream, _) = self.0.accept().await.expect("a listener accepts");
        let mut contact = Contact { text: String::new(), stream: BufReader::new(stream) };
        contact.text = contact.line().await.ok()?;
        Some(contact)
    }

    /// Waits for the next process, which has to tell `text`.
    ///
    /// # Panics
    /// Where it tells something else.
    pub async fn hear(&self, text: &str) -> Contact {
        let contact = self.next().await;
        assert_eq!(contact.text, text);
        contact
    }
}

impl Contact {
    /// Lets the process go on that waits in its step `hear`.
    ///
    /// # Panics
    /// Where it is dead.
    pub async fn go_on(&mut self) {
        self.say("\n").await;
    }

    /// The same for one that may be dead by now.
    pub async fn let_go(&mut self) {
        let _ = self.stream.write_all(b"\n").await;
    }

    /// Says something to a process that listens.
    ///
    /// # Panics
    /// Where it is dead.
    pub async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the process is alive");
    }

    /// Waits for one line more; nothing if the process dies before.
    pub async fn more(&mut self) -> Option<String> {
        self.line().await.ok()
    }

    /// Waits until the process is dead, and whoever it has handed the connection on to.
    pub async fn end(&mut self) {
        // A reset is what is seen of a process that died before it read everything.
        let _ = self.stream.read_to_end(&mut Vec::new()).await;
    }

    /// Waits until the process is dead: its end closes the connection, however it came.
    ///
    /// # Panics
    /// Where it tells something instead.
    pub async fn death(mut self) {
        let mut rest = Vec::new();
        // A reset is what is seen of a process that died before it read everything.
        let _ = self.stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "told more: {}", rest.escape_ascii());
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        line.strip_suffix('\n').map(str::to_owned).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
