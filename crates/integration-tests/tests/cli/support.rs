//! Runs `pillion`.

use std::{ffi::OsStr, process::Stdio};

use integration_tests::{ProcessTree, TestMarker};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
};

pub(crate) const FAKE: &str = env!("CARGO_BIN_EXE_fake-sidecar");

pub(crate) fn tree() -> ProcessTree {
    ProcessTree::new(FAKE)
}

pub(crate) const PILLION: &str = env!("CARGO_BIN_EXE_pillion-under-test");

/// The arguments of `pillion` for a run of `fake-sidecar` with these options and steps.
pub(crate) fn words<'a>(options: &'a str, steps: &'a str) -> impl Iterator<Item = &'a str> {
    let words = options.split_ascii_whitespace().chain(["--", FAKE]).chain(steps.split_ascii_whitespace());
    ["run"].into_iter().chain(words)
}

/// `pillion`, running.
pub(crate) struct Pillion(pub(crate) Child);

/// Its result.
pub(crate) struct FinishedPillion {
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Pillion {
    /// Starts `pillion` with these arguments. `PORT` and a proxy are set in its environment, as on some developers' machines.
    pub(crate) fn start(tree: &ProcessTree, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        Self::spawn(tree, Command::new(PILLION), arguments)
    }

    /// `pillion run`, as [`run`](Self::run) starts it, by a caller that ignores this signal (env(1)).
    pub(crate) fn run_ignoring(tree: &ProcessTree, signal: &str, options: &str, steps: &str) -> Self {
        let mut env = Command::new("env");
        env.arg("--default-signal").arg(format!("--ignore-signal={signal}")).arg(PILLION);
        Self::spawn(tree, env, words(options, steps))
    }

    pub(crate) fn spawn(
        tree: &ProcessTree,
        command: Command,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        Self::spawn_with(tree, command, Stdio::null(), arguments)
    }

    #[expect(clippy::disallowed_methods, reason = "the tree kills what remains")]
    pub(crate) fn spawn_with(
        tree: &ProcessTree,
        mut command: Command,
        stdin: Stdio,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Self {
        let child = command
            .args(arguments)
            .env(TestMarker::VARIABLE, tree.marker())
            .env("PORT", "1")
            .env("HTTPS_PROXY", "http://192.0.2.1")
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Starts `pillion run` with these options on `fake-sidecar` with these steps.
    pub(crate) fn run(tree: &ProcessTree, options: &str, steps: &str) -> Self {
        Self::start(tree, words(options, steps))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until a signal has stopped it.
    pub(crate) async fn stopped(&self) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        let wait = move || waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).unwrap();
        assert!(tokio::task::spawn_blocking(wait).await.unwrap().unwrap().stopped());
    }

    /// Reads both streams to their ends, and waits for the exit.
    pub(crate) async fn end(mut self) -> FinishedPillion {
        let mut stderr = self.0.stderr.take().unwrap();
        let mut stdout = self.0.stdout.take();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let read_out = async {
            if let Some(stdout) = &mut stdout {
                stdout.read_to_end(&mut out).await.unwrap();
            }
        };
        let ((), read_err) = tokio::join!(read_out, stderr.read_to_end(&mut err));
        read_err.unwrap();
        let status = self.0.wait().await.unwrap().code().expect("no signal killed pillion itself");
        FinishedPillion { status, stdout: out, stderr: String::from_utf8(err).unwrap() }
    }
}

/// Runs a sidecar whose start must expire after the sidecar has taken its steps. How soon it takes them depends on the
/// machine: the next longer limit is tried until the result fits.
pub(crate) async fn expire(
    tree: &ProcessTree,
    options: &str,
    steps: &str,
    fits: impl Fn(&FinishedPillion) -> bool,
) {
    let mut results = Vec::new();
    for limit in ["200ms", "3s", "30s"] {
        let options = format!("--ready-timeout {limit} {options}");
        let ended = Pillion::run(tree, &options, steps).end().await;
        if fits(&ended) {
            return;
        }
        results.push((ended.status, ended.stderr));
    }
    panic!("{options} -- {steps}: {results:?}");
}
