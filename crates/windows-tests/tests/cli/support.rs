//! Starts `pillion`.

use std::{ffi::OsStr, path::Path, process::Stdio};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};
use windows_tests::{ReportServer, Reporter};

pub(crate) const PILLION: &str = env!("CARGO_BIN_EXE_windows-pillion");
pub(crate) const SIDECAR: &str = env!("CARGO_BIN_EXE_windows-sidecar");

/// `pillion`, running. It is killed with this value.
pub(crate) struct Pillion(pub(crate) Child);

/// Its result.
pub(crate) struct FinishedPillion {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Pillion {
    pub(crate) fn start(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        Self::spawn(Command::new(PILLION).args(arguments))
    }

    /// As [`start`](Self::start), with this folder alone as the `PATH`.
    pub(crate) fn start_with_path(
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        path: &Path,
    ) -> Self {
        Self::spawn(Command::new(PILLION).args(arguments).env("PATH", path))
    }

    #[expect(clippy::disallowed_methods, reason = "it is killed with this value, and its job with it")]
    fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.kill_on_drop(true).spawn().unwrap())
    }

    /// Starts `pillion run` with these options on the sidecar with these steps, and the port of the report server for `PORT`.
    pub(crate) fn run(reports: &ReportServer, options: &str, steps: &str) -> Self {
        let port = reports.port().to_string();
        let steps = steps.split(' ').map(|word| if word == "PORT" { &*port } else { word });
        let words = options.split_ascii_whitespace().chain(["--", SIDECAR]).chain(steps);
        Self::start(["run"].into_iter().chain(words))
    }

    /// As [`run`](Self::run), for a sidecar that serves and then takes these steps. Waits until it is ready.
    pub(crate) async fn ready(reports: &ReportServer, options: &str, steps: &str) -> (Self, Reporter) {
        let mut pillion = Self::run(reports, options, &format!("report PORT sidecar serve {steps}"));
        let sidecar = reports.wait_for("sidecar").await;
        read_until(pillion.0.stderr.as_mut().unwrap(), "is ready at").await;
        (pillion, sidecar)
    }

    /// A command, to its end.
    pub(crate) async fn command(arguments: &str) -> FinishedPillion {
        Self::start(arguments.split_ascii_whitespace()).end().await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id().unwrap()
    }

    /// Reads both streams to their ends, and waits for the exit.
    pub(crate) async fn end(mut self) -> FinishedPillion {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (out, err) = (self.0.stdout.as_mut().unwrap(), self.0.stderr.as_mut().unwrap());
        let (read_out, read_err) = tokio::join!(out.read_to_end(&mut stdout), err.read_to_end(&mut stderr));
        read_out.unwrap();
        read_err.unwrap();
        let status = self.0.wait().await.unwrap().code().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        FinishedPillion { status, stdout: text(stdout), stderr: text(stderr) }
    }

    /// Kills it: the standard library calls `TerminateProcess`.
    pub(crate) async fn terminated(mut self) {
        self.0.kill().await.unwrap();
    }
}

/// Reads until this text has come.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), expected: &str) -> String {
    let mut said = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&said).into_owned();
        if text.contains(expected) {
            return text;
        }
        let read = stream.read_buf(&mut said).await.unwrap();
        assert_ne!(read, 0, "the stream ended before {expected:?}: {text}");
    }
}
