//! The baseline: a backend started with the standard library alone, as a developer does without a supervisor.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// The time limit of each single step of the benchmark.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(30);

/// A backend that has announced its port. Drop kills it.
#[derive(Debug)]
pub(crate) struct Backend {
    child: Child,
    stdin: Option<ChildStdin>,
    spawned: Instant,
    pub(crate) port: u16,
    /// The time from before the spawn until its announcement was read.
    pub(crate) announced: Duration,
}

/// The memory of a process in bytes (`proc_pid_smaps_rollup(5)`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    pub(crate) pss: u64,
}

impl Backend {
    /// Starts `command` and reads its stdout up to the announcement.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        command.env_remove("PORT").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let spawned = Instant::now();
        #[expect(
            clippy::disallowed_methods,
            reason = "a spawn without a supervisor is the baseline; it is killed on drop"
        )]
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let mut backend = Self { child, stdin, spawned, port: 0, announced: Duration::ZERO };
        let mut line = String::new();
        BufReader::new(stdout.context("stdout was not piped")?).read_line(&mut line)?;
        backend.announced = spawned.elapsed();
        let port = line.strip_prefix("BACKEND_PORT:").and_then(|rest| rest.strip_suffix('\n')?.parse().ok());
        backend.port = port.with_context(|| format!("{command:?} announced {line:?}"))?;
        Ok(backend)
    }

    /// Requests `/health` until it succeeds, and returns the time since the spawn.
    pub(crate) fn until_healthy(&self) -> Result<Duration> {
        while let Err(error) = get_health(self.port) {
            if self.spawned.elapsed() > TIME_LIMIT {
                return Err(error).context("the backend did not become healthy");
            }
        }
        Ok(self.spawned.elapsed())
    }

    /// Sends SIGTERM and ends stdin. Returns the time until the process ended.
    pub(crate) fn stop(mut self) -> Result<Duration> {
        let pid = pid(self.child.id())?;
        let requested = Instant::now();
        kill_process(pid, Signal::TERM)?;
        drop(self.stdin.take());
        let status = self.child.wait()?;
        let took = requested.elapsed();
        ensure!(status.success(), "the backend ended with {status} on the request to stop");
        Ok(took)
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        memory(self.child.id())
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn pid(id: u32) -> Result<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw).context("not a process id")
}

/// The current memory of the process `id`.
pub(crate) fn memory(id: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Ok(Memory { rss: bytes("Rss:").context("no Rss")?, pss: bytes("Pss:").context("no Pss")? })
}

/// Sends one request on a new connection. Fails unless the answer is complete and its status is 2xx.
fn get_health(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(TIME_LIMIT))?;
    write!(stream, "GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).or_else(|error| match error.kind() {
        // Some servers reset a connection after `Connection: close`.
        io::ErrorKind::ConnectionReset => Ok(answer.len()),
        _ => Err(error),
    })?;
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let complete = response.parse(&answer)?.is_complete();
    match response.code {
        Some(200..300) if complete => Ok(()),
        code => bail!("/health answered {code:?}"),
    }
}
