//! Shared support: how a process reports to the test, and how the test observes its death.
//!
//! Each process connects to the test and sends its name and its process id. The test then opens a handle of the process, which
//! the system signals at any death. The end of the connection would be no proof: under Wine a socket outlives a process that
//! is killed while it sends.
//!
//! The crate is separate from `integration-tests`. Its sidecar, its host and its way to observe a process use other means of
//! the system than those on Unix, so that one crate for both would have more code than two.

#![cfg(windows)]

use std::{fmt, future::Future, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    time::timeout,
};
use winsafe::{HPROCESS, co, guard::CloseHandleGuard};

/// The time after which a test counts as hanging.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How long after the end of an app a process of its sidecar may live.
pub const SURVIVAL_LIMIT: Duration = Duration::from_secs(5);

/// Runs the body of a test. The test fails if the body takes longer than [`TEST_TIMEOUT`].
///
/// # Panics
/// If the body panics or hangs.
pub fn run(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("the system has the resources for a test");
    let finished = runtime.block_on(async { timeout(TEST_TIMEOUT, body).await.is_ok() });
    assert!(finished, "the test hangs: it was given up after {} s", TEST_TIMEOUT.as_secs());
}

/// The server to which processes report.
#[derive(Debug)]
pub struct ReportServer {
    listener: TcpListener,
    early: Mutex<Vec<Reporter>>,
}

/// A process that has reported.
pub struct Reporter {
    name: String,
    /// `None` if it has already ended.
    process: Option<CloseHandleGuard<HPROCESS>>,
    stream: BufReader<TcpStream>,
}

impl ReportServer {
    /// Listens on a port that the system chooses.
    ///
    /// # Panics
    /// If the system has no free port.
    pub async fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
        Self { listener, early: Mutex::default() }
    }

    /// The port to which processes report.
    ///
    /// # Panics
    /// Never: a listener has an address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.listener.local_addr().expect("a listener has an address").port()
    }

    /// Waits for the report of the process with this name. Reports of others that come first are kept.
    ///
    /// # Panics
    /// If a process dies before the end of its report.
    pub async fn wait_for(&self, name: &str) -> Reporter {
        let mut early = self.early.lock().await;
        loop {
            if let Some(found) = early.iter().position(|reporter| reporter.name == name) {
                return early.swap_remove(found);
            }
            let (stream, _) = self.listener.accept().await.expect("a listener accepts");
            early.push(Reporter::meet(stream).await);
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Reporter {
    async fn meet(stream: TcpStream) -> Self {
        let mut reporter = Self { name: String::new(), process: None, stream: BufReader::new(stream) };
        let report = reporter.line().await;
        let (name, pid) = report.rsplit_once(' ').expect("the report has a name and a process id");
        let pid = pid.parse().expect("the process id is a number");
        reporter.process = match HPROCESS::OpenProcess(co::PROCESS::SYNCHRONIZE, false, pid) {
            Ok(process) => Some(process),
            Err(co::ERROR::INVALID_PARAMETER) => None,
            Err(error) => panic!("cannot open a handle of {name}: {error}"),
        };
        reporter.name = name.to_owned();
        reporter
    }

    /// Ends the step `wait` of the process.
    ///
    /// # Panics
    /// If the process is dead.
    pub async fn resume(&mut self) {
        self.stream.write_all(b"\n").await.expect("the process is alive");
    }

    /// The next line that the process sends.
    ///
    /// # Panics
    /// If the process is dead.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.expect("the process is alive");
        line.strip_suffix('\n').expect("the process sends a whole line").to_owned()
    }

    /// Waits until the process is dead.
    ///
    /// # Panics
    /// If it lives longer than [`SURVIVAL_LIMIT`].
    pub async fn wait_death(self) {
        let Some(process) = self.process else { return };
        let limit = u32::try_from(SURVIVAL_LIMIT.as_millis()).expect("the limit fits");
        let waited = tokio::task::spawn_blocking(move || process.WaitForSingleObject(Some(limit)));
        let waited = waited.await.expect("waiting does not panic").expect("a process can be waited for");
        assert_eq!(
            waited,
            co::WAIT::OBJECT_0,
            "{} is alive, {} s later",
            self.name,
            SURVIVAL_LIMIT.as_secs()
        );
    }
}
