//! A process that starts sidecars and holds them, and does nothing else. Another process measures it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use pillion::{Program, Spec, StopOutcome, Supervisor};
use rustix::process::{Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::super::child;

/// How the process starts and holds its sidecars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Holder {
    /// It spawns all of them, then reads all announcements, and waits for all: the standard library alone.
    Bare,
    /// It has a supervisor for each.
    Supervisor,
    /// The same, without liveness probes.
    Unprobed,
}

/// Holds sidecars until its stdin ends. It reports on stdout when all are up, and when all are down.
#[derive(Debug, Args)]
pub(crate) struct Hold {
    pub(super) holder: Holder,
    pub(super) count: usize,
    pub(super) program: PathBuf,
    /// The steps of the sidecar.
    #[arg(last = true, default_values = STEPS)]
    steps: Vec<String>,
}

/// All sidecars are up. The times are seconds since before the first start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartTimes {
    pub(crate) announced: f64,
    /// `None` for the bare loop, which does not request health.
    pub(crate) ready: Option<f64>,
}

/// All sidecars are down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Down {
    /// Seconds since the request to stop.
    pub(crate) seconds: f64,
    /// The number of sidecars that did not end on request, according to their supervisors.
    pub(crate) killed: usize,
}

/// By default, the sidecars listen, announce, answer, and end when their stdin ends.
const STEPS: [&str; 4] = ["listen", "ok", "announce", "eof"];

impl Hold {
    pub(crate) fn run(self) -> Result<()> {
        match self.holder {
            Holder::Bare => self.bare(),
            Holder::Supervisor | Holder::Unprobed => self.supervised(),
        }
    }

    fn bare(&self) -> Result<()> {
        let begun = Instant::now();
        let mut children = Children(Vec::new());
        for _ in 0..self.count {
            let mut command = Command::new(&self.program);
            command.args(&self.steps).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            #[expect(
                clippy::disallowed_methods,
                reason = "a spawn without a supervisor is the baseline; it is killed on drop"
            )]
            children.0.push(command.spawn()?);
        }
        for child in &mut children.0 {
            let stdout = child.stdout.as_mut().context("stdout was not piped")?;
            let mut line = String::new();
            // The reader is dropped with its buffer, which holds nothing but this line.
            BufReader::with_capacity(64, stdout).read_line(&mut line)?;
            ensure!(line.starts_with("BACKEND_PORT:"), "a sidecar announced {line:?}");
        }
        report(&StartTimes { announced: begun.elapsed().as_secs_f64(), ready: None })?;
        wait_for_stdin_end()?;
        let asked = Instant::now();
        for child in &mut children.0 {
            drop(child.stdin.take());
            kill_process(child::pid(child.id())?, Signal::TERM)?;
        }
        for child in &mut children.0 {
            child.wait()?;
        }
        report(&Down { seconds: asked.elapsed().as_secs_f64(), killed: 0 })
    }

    fn supervised(&self) -> Result<()> {
        let mut spec = Spec::run("sidecar", Program::new(&self.program).args(&self.steps));
        if self.holder == Holder::Unprobed {
            spec = spec.liveness(None);
        }
        // As in an app: one runtime, started before, with a worker for each core.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (up, sidecars) = runtime.block_on(start(&spec, self.count))?;
        report(&up)?;
        wait_for_stdin_end()?;
        report(&runtime.block_on(stop(sidecars))?)
    }
}

async fn start(spec: &Spec, count: usize) -> Result<(StartTimes, Vec<Supervisor>)> {
    let begun = Instant::now();
    let sidecars: Vec<_> = (0..count).map(|_| Supervisor::start(spec.clone()).0).collect();
    for sidecar in &sidecars {
        let mut watch = sidecar.watch();
        while watch.next().await.context("a supervisor ended")?.port.is_none() {}
    }
    let announced = begun.elapsed().as_secs_f64();
    for sidecar in &sidecars {
        sidecar.ready().await?;
    }
    Ok((StartTimes { announced, ready: Some(begun.elapsed().as_secs_f64()) }, sidecars))
}

async fn stop(sidecars: Vec<Supervisor>) -> Result<Down> {
    let asked = Instant::now();
    let mut stops = JoinSet::new();
    for sidecar in sidecars {
        stops.spawn(async move { sidecar.stop().await });
    }
    let mut killed = 0;
    while let Some(outcome) = stops.join_next().await {
        killed += usize::from(!matches!(outcome?, StopOutcome::Graceful(_)));
    }
    Ok(Down { seconds: asked.elapsed().as_secs_f64(), killed })
}

fn report(message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(io::stdout().write_all(&line)?)
}

/// Blocks this thread alone until stdin ends.
fn wait_for_stdin_end() -> Result<()> {
    Ok(io::stdin().read_to_end(&mut Vec::new()).map(drop)?)
}

/// Bare sidecars, killed on drop.
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
