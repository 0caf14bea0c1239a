//! Starts the sidecar, sends requests to it, and waits for its end. Every wait ends with an event; the time limit only bounds
//! a failing test.

use std::{env, fmt, path::PathBuf, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixStream},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::test_sidecar;

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn block_on(test: impl Future<Output = ()>) {
    block_on_within(LIMIT, test);
}

/// Runs a test that may take longer than the others.
pub(crate) fn block_on_within(limit: Duration, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(limit, test).await.expect("the test ends within its time limit") });
}

/// The sidecar without variables of a host, and with `/dev/null` as stdin.
pub(crate) fn sidecar() -> Command {
    as_sidecar(Command::new(env::current_exe().unwrap()))
}

/// The same, with this limit of open files.
pub(crate) fn sidecar_with_descriptors(most: u32) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!(r#"ulimit -n {most} && exec "$0" "$@""#)]).arg(env::current_exe().unwrap());
    as_sidecar(command)
}

fn as_sidecar(mut command: Command) -> Command {
    for name in ["PORT", "PILLION_INSTANCE", "PILLION_TOKEN", "PILLION_ALLOWED_ORIGINS", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.arg(test_sidecar::ARGUMENT).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a sidecar that cannot start. Returns its exit code, stdout and stderr.
pub(crate) async fn fails_to_start(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A sidecar that has announced itself. Dropping it kills the process.
pub(crate) struct RunningSidecar {
    /// The port, or 0 if the sidecar listens on a socket.
    pub(crate) port: u16,
    socket: Option<PathBuf>,
    pub(crate) stdin: Option<ChildStdin>,
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: Option<BufReader<ChildStderr>>,
}

impl RunningSidecar {
    pub(crate) async fn start(command: &mut Command) -> Self {
        let (line, mut running) = Self::announced(command).await;
        // The simplest possible reader of an announcement.
        running.port = line.trim_end().strip_prefix("BACKEND_PORT:").unwrap().parse().unwrap();
        running
    }

    /// Starts a sidecar that inherits the listener of the socket at `path`.
    #[cfg(target_os = "linux")]
    pub(crate) async fn start_on(command: &mut Command, path: &std::path::Path) -> Self {
        let (line, mut running) = Self::announced(command).await;
        assert_eq!(line, "BACKEND_SOCKET:3\n");
        running.socket = Some(path.to_owned());
        running
    }

    #[expect(clippy::disallowed_methods, reason = "this test runs the sidecar without the supervisor")]
    async fn announced(command: &mut Command) -> (String, Self) {
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().map(BufReader::new);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).await.unwrap();
        (line, Self { port: 0, socket: None, stdin: child.stdin.take(), child, stdout, stderr })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Reads stderr up to and including the line that contains `text`.
    pub(crate) async fn stderr_until(&mut self, text: &str) -> String {
        let stderr = self.stderr.as_mut().unwrap();
        let mut said = String::new();
        while !said.contains(text) {
            assert_ne!(stderr.read_line(&mut said).await.unwrap(), 0, "{text:?} is missing in: {said}");
        }
        said
    }

    /// Closes the reading end of stderr, as the death of the host does.
    pub(crate) fn close_stderr(&mut self) {
        self.stderr = None;
    }

    /// Waits for the end. Returns the exit code, stdout after the announcement, and the rest of stderr.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String, String) {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        if let Some(mut pipe) = self.stderr.take() {
            pipe.read_to_string(&mut stderr).await.unwrap();
        }
        self.stdout.read_to_string(&mut stdout).await.unwrap();
        (self.child.wait().await.unwrap().code(), stdout, stderr)
    }

    pub(crate) async fn connect(&self) -> TestConnection {
        match &self.socket {
            Some(path) => TestConnection {
                stream: Box::new(UnixStream::connect(path).await.unwrap()),
                host: "localhost".to_owned(),
            },
            None => TestConnection {
                stream: Box::new(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()),
                host: format!("127.0.0.1:{}", self.port),
            },
        }
    }

    /// The process id.
    #[cfg(target_os = "linux")]
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Resolves once connections are refused.
    pub(crate) async fn refuses_connections(&self) {
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {}
    }

    /// Sends one request on a new connection, and returns the whole answer.
    pub(crate) async fn request(&self, line: &str, headers: &[&str]) -> String {
        let mut connection = self.connect().await;
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        connection
            .send(format!("{line} HTTP/1.1\r\nHost: {{host}}\r\nConnection: close\r\n{headers}\r\n"))
            .await;
        connection.rest().await
    }
}

/// A client connection. The test decides when each byte is sent.
pub(crate) struct TestConnection {
    stream: Box<dyn ByteStream>,
    host: String,
}

trait ByteStream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> ByteStream for S {}

impl TestConnection {
    /// Sends `bytes`, in which `{host}` stands for the sidecar's address.
    pub(crate) async fn send(&mut self, bytes: impl fmt::Display) {
        self.stream.write_all(bytes.to_string().replace("{host}", &self.host).as_bytes()).await.unwrap();
    }

    /// The head of the next answer, or its beginning if the sidecar closes the connection earlier.
    pub(crate) async fn head(&mut self) -> String {
        let mut received = Vec::new();
        while !received.ends_with(b"\r\n\r\n")
            && let Ok(byte) = self.stream.read_u8().await
        {
            received.push(byte);
        }
        String::from_utf8_lossy(&received).into_owned()
    }

    /// Reads until `text` arrives.
    pub(crate) async fn receive(&mut self, text: &str) -> String {
        let mut received = Vec::new();
        while !String::from_utf8_lossy(&received).contains(text) {
            let byte = self.stream.read_u8().await;
            received
                .push(byte.unwrap_or_else(|_| panic!("{text:?} is missing in: {}", received.escape_ascii())));
        }
        String::from_utf8(received).unwrap()
    }

    /// Sends `bytes`, unless the sidecar has already closed the connection.
    pub(crate) async fn try_send(&mut self, bytes: &str) {
        let _ = self.stream.write_all(bytes.replace("{host}", &self.host).as_bytes()).await;
    }

    /// Closes the sending side: the sidecar reads the end of the stream.
    pub(crate) async fn finish_sending(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Sends `bytes` again and again without reading any answer, until the sidecar cuts the connection.
    pub(crate) async fn send_until_cut(&mut self, bytes: &str) {
        let bytes = bytes.replace("{host}", &self.host);
        while self.stream.write_all(bytes.as_bytes()).await.is_ok() {}
    }

    /// Reads until the sidecar closes the connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut received = String::new();
        self.stream.read_to_string(&mut received).await.unwrap();
        received
    }

    /// Sends half a request to `/echo` and waits until that half comes back: then the request is in flight.
    pub(crate) async fn send_half(&mut self) {
        self.send("POST /echo HTTP/1.1\r\nHost: {host}\r\nContent-Length: 10\r\n\r\nfirst").await;
        self.receive("first").await;
    }

    /// Sends the other half, and asserts that the answer is complete and the connection closed after it.
    pub(crate) async fn send_other_half(&mut self) {
        self.send("other").await;
        assert_eq!(self.rest().await, "other");
    }
}
