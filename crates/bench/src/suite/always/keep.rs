//! A process that starts sidecars and keeps them, and does nothing else: what is measured from the outside.

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

/// How the sidecars are started and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keeper {
    /// Spawned one after the other, their announcements read then, and waited for: what std offers.
    Bare,
    /// A supervisor for each.
    Supervisor,
    /// The same, but a sidecar that is ready is not asked for its health any more.
    Unprobed,
}

/// Keeps sidecars until its stdin ends. It says on stdout when they are up, and when they are down.
#[derive(Debug, Args)]
pub(crate) struct Keep {
    pub(super) keeper: Keeper,
    pub(super) count: usize,
    pub(super) program: PathBuf,
}

/// All sidecars are up: seconds from before the first start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Up {
    pub(super) announced: f64,
    /// Nobody asks for their health in a bare loop.
    pub(super) ready: Option<f64>,
}

/// All sidecars are down.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Down {
    /// Seconds since all were asked to stop.
    pub(super) seconds: f64,
    /// How many did not end by being asked, as their supervisors say.
    pub(super) killed: usize,
}

/// What the sidecars do: listen, announce, answer, and end with their stdin.
const STEPS: [&str; 4] = ["listen", "ok", "announce", "eof"];

impl Keep {
    pub(crate) fn run(self) -> Result<()> {
        match self.keeper {
            Keeper::Bare => self.bare(),
            Keeper::Supervisor | Keeper::Unprobed => self.supervised(),
        }
    }

    fn bare(&self) -> Result<()> {
        let begun = Instant::now();
        let mut children = Children(Vec::new());
        for _ in 0..self.count {
            let mut command = Command::new(&self.program);
            command.args(STEPS).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            #[expect(
                clippy::disallowed_methods,
                reason = "a bare spawn is what is measured; it is killed on drop"
            )]
            children.0.push(command.spawn()?);
        }
        for child in &mut children.0 {
            let stdout = child.stdout.as_mut().context("stdout was not piped")?;
            let mut line = String::new();
            // Dropped with what it has read, which is no more than this line.
            BufReader::with_capacity(64, stdout).read_line(&mut line)?;
            ensure!(line.starts_with("BACKEND_PORT:"), "a sidecar announced {line:?}");
        }
        say(&Up { announced: begun.elapsed().as_secs_f64(), ready: None })?;
        until_the_end()?;
        let asked = Instant::now();
        for child in &mut children.0 {
            drop(child.stdin.take());
            kill_process(child::pid(child.id())?, Signal::TERM)?;
        }
        for child in &mut children.0 {
            child.wait()?;
        }
        say(&Down { seconds: asked.elapsed().as_secs_f64(), killed: 0 })
    }

    fn supervised(&self) -> Result<()> {
        let mut spec = Spec::run("sidecar", Program::new(&self.program).args(STEPS));
        if self.keeper == Keeper::Unprobed {
            spec = spec.liveness(None);
        }
        // As in an app: one runtime that is there already, and a worker for each core.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (up, sidecars) = runtime.block_on(start(&spec, self.count))?;
        say(&up)?;
        until_the_end()?;
        say(&runtime.block_on(stop(sidecars))?)
    }
}

async fn start(spec: &Spec, count: usize) -> Result<(Up, Vec<Supervisor>)> {
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
    Ok((Up { announced, ready: Some(begun.elapsed().as_secs_f64()) }, sidecars))
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

fn say(what: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    Ok(io::stdout().write_all(&line)?)
}

/// Blocks this thread, and no other, until nobody wants the sidecars any more.
fn until_the_end() -> Result<()> {
    Ok(io::stdin().read_to_end(&mut Vec::new()).map(drop)?)
}

/// Sidecars that end with this value.
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
