//! A process that keeps sidecars, seen from the outside: what it said, and what it uses.

use std::{
    env, fs,
    io::{BufRead, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use integration_tests::{Living, Mark};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::de::DeserializeOwned;

use super::keep::{Down, Keeper, Up};

/// What one sidecar takes at most of the descriptors of a process: here one that holds it, and in its keeper the two
/// ends of a socket to the guard, two pipes, and a question for its health.
const DESCRIPTORS: usize = 6;

/// A running [`Keep`](super::Keep). Dropping it kills it, upon which the sidecars end by themselves.
#[derive(Debug)]
pub(super) struct Kept {
    keeper: Child,
    stdin: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
    mark: Mark,
    pub(super) up: Up,
}

/// What a process has used since it began.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// How many times one of its threads slept, and was woken.
    pub(super) wakeups: u64,
    pub(super) cpu_nanos: u64,
}

impl Kept {
    /// Starts `count` sidecars, and waits until they are up.
    pub(super) fn start(keeper: Keeper, count: usize, program: &Path) -> Result<Self> {
        make_room(count)?;
        let mark = Mark::new()?;
        let name = keeper.to_possible_value().context("a keeper without a name")?;
        let mut command = Command::new(env::current_exe()?);
        command.args(["keep", name.get_name(), &count.to_string()]).arg(program);
        command.env(Mark::VARIABLE, mark.value()).stdin(Stdio::piped()).stdout(Stdio::piped());
        #[expect(clippy::disallowed_methods, reason = "the keeper is what is measured; it is killed on drop")]
        let mut keeper = command.spawn()?;
        let stdin = keeper.stdin.take();
        let stdout = keeper.stdout.take().context("stdout was not piped")?;
        let up = Up { announced: 0.0, ready: None };
        let mut kept = Self { keeper, stdin, said: BufReader::new(stdout).lines(), mark, up };
        kept.up = kept.hear()?;
        Ok(kept)
    }

    pub(super) fn pid(&self) -> u32 {
        self.keeper.id()
    }

    /// The process ids of the guards.
    pub(super) fn guards(&self) -> Result<Vec<u32>> {
        let alive = self.mark.alive()?;
        Ok(alive.iter().filter(|process| process.is_guard()).map(|process: &Living| process.pid).collect())
    }

    /// Stops all sidecars, and then the keeper.
    pub(super) fn end(mut self) -> Result<Down> {
        drop(self.stdin.take());
        let down = self.hear()?;
        let status = self.keeper.wait()?;
        ensure!(status.success(), "a keeper of sidecars ended with {status}");
        Ok(down)
    }

    fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.said.next().context("a keeper of sidecars ended too early")??;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// Raises the limit of descriptors for this process, and for those that it starts, to what so many sidecars need.
fn make_room(count: usize) -> Result<()> {
    let needed = (100 + DESCRIPTORS * count) as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < needed) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).with_context(|| {
            format!("{count} sidecars need {needed} descriptors, and no more than {maximum:?} are allowed")
        })?;
    }
    Ok(())
}

/// What all threads of a process have used so far (`proc_pid_status(5)`; `schedstat` is described in the kernel's
/// Documentation/scheduler/sched-stats.rst, and counts nanoseconds where `stat` counts ticks).
pub(super) fn usage(pid: u32) -> Result<Usage> {
    let mut usage = Usage::default();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?.path();
        let status = fs::read_to_string(thread.join("status"))?;
        let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        usage.wakeups += switches.context("no voluntary_ctxt_switches")?.trim().parse::<u64>()?;
        let schedule = fs::read_to_string(thread.join("schedstat"))?;
        let ran = schedule.split_ascii_whitespace().next().context("an empty schedstat")?;
        usage.cpu_nanos += ran.parse::<u64>()?;
    }
    Ok(usage)
}
