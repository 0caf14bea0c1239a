//! What the tests share: how a process tells the test that it is there, and how the test sees that it is dead.
//!
//! Each process connects to the test and says its name and its number. The test holds the process by a handle from then on,
//! which the system signals when the process ends, by whatever death. The end of the connection is no proof: under Wine, a
//! socket outlives a process that is killed in the middle of sending.

#![cfg(windows)]

use std::{fmt, future::Future, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    time::timeout,
};
use winsafe::{HPROCESS, co, guard::CloseHandleGuard};

/// How long a test may take before it counts as hanging.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long after the end of an app something of its sidecar may live, at most.
pub const SURVIVAL_LIMIT: Duration = Duration::from_secs(5);

/// Runs the body of a test, and turns a hang into a failure.
///
/// # Panics
/// When the body does, or hangs.
pub fn run(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("the system has the resources for a test");
    let finished = runtime.block_on(async { timeout(TEST_TIMEOUT, body).await.is_ok() });
    assert!(finished, "the test hangs: it was given up after {} s", TEST_TIMEOUT.as_secs());
}

/// Where processes report to.
#[derive(Debug)]
pub struct ReportServer {
    listener: TcpListener,
    early: Mutex<Vec<Reporter>>,
}

/// A process that is there.
pub struct Reporter {
    who: String,
    /// Nothing where it has ended already.
    process: Option<CloseHandleGuard<HPROCESS>>,
    stream: BufReader<TcpStream>,
}

impl ReportServer {
    /// Listens on a port of its own.
    ///
    /// # Panics
    /// Where the system has no port left.
    pub async fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
        Self { listener, early: Mutex::default() }
    }

    /// The port to tell to.
    ///
    /// # Panics
    /// Never: a listener has an address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.listener.local_addr().expect("a listener has an address").port()
    }

    /// Waits for this process. Others that come first are kept until they are asked for.
    ///
    /// # Panics
    /// Where a process dies before it has said who it is.
    pub async fn hear(&self, who: &str) -> Reporter {
        let mut early = self.early.lock().await;
        loop {
            if let Some(found) = early.iter().position(|contact| contact.who == who) {
                return early.swap_remove(found);
            }
            let (stream, _) = self.listener.accept().await.expect("a listener accepts");
            early.push(Reporter::meet(stream).await);
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.who)
    }
}

impl Reporter {
    async fn meet(stream: TcpStream) -> Self {
        let mut contact = Self { who: String::new(), process: None, stream: BufReader::new(stream) };
        let introduction = contact.line().await;
        let (who, pid) = introduction.rsplit_once(' ').expect("it says its name and its number");
        let pid = pid.parse().expect("its number is one");
        contact.process = match HPROCESS::OpenProcess(co::PROCESS::SYNCHRONIZE, false, pid) {
            Ok(process) => Some(process),
            Err(co::ERROR::INVALID_PARAMETER) => None,
            Err(error) => panic!("{who} cannot be held: {error}"),
        };
        contact.who = who.to_owned();
        contact
    }

    /// Lets the process go on that waits in its step `hear`.
    ///
    /// # Panics
    /// Where it is dead.
    pub async fn go_on(&mut self) {
        self.stream.write_all(b"\n").await.expect("the process is alive");
    }

    /// What the process tells next.
    ///
    /// # Panics
    /// Where it is dead.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.expect("the process is alive");
        line.strip_suffix('\n').expect("the process tells a whole line").to_owned()
    }

    /// Waits until the process is dead.
    ///
    /// # Panics
    /// Where it lives for longer than anything may after the end of its app.
    pub async fn dies(self) {
        let Some(process) = self.process else { return };
        let limit = u32::try_from(SURVIVAL_LIMIT.as_millis()).expect("it is short");
        let waited = tokio::task::spawn_blocking(move || process.WaitForSingleObject(Some(limit)));
        let waited = waited.await.expect("waiting does not panic").expect("a process can be waited for");
        assert_eq!(waited, co::WAIT::OBJECT_0, "{} is alive, {} s later", self.who, SURVIVAL_LIMIT.as_secs());
    }
}
