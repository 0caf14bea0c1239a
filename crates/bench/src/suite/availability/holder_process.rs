//! The process that holds sidecars, as the benchmark sees it: its reports, and the resources that it uses.

use std::{
    env, fs,
    io::{BufRead, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use integration_tests::{LiveProcess, TestMarker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::de::DeserializeOwned;

use super::holder::{Down, Holder, StartTimes};

/// The most descriptors that one sidecar costs a process: here one to hold it, and in the holder the two ends of a socket to
/// the guard, two pipes, and a connection for a health request.
const DESCRIPTORS: usize = 6;

/// A running [`Hold`](super::Hold). Drop kills it, and its sidecars then end by themselves.
#[derive(Debug)]
pub(crate) struct HolderProcess {
    process: Child,
    stdin: Option<ChildStdin>,
    reports: Lines<BufReader<ChildStdout>>,
    marker: TestMarker,
    pub(crate) up: StartTimes,
}

/// The resources that a process has used since its start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// How often a thread of it slept and woke up.
    pub(super) wakeups: u64,
    pub(super) cpu_nanos: u64,
}

impl HolderProcess {
    /// Starts `count` sidecars, and waits until they are up.
    pub(crate) fn start(holder: Holder, count: usize, program: &Path) -> Result<Self> {
        make_room(count)?;
        let marker = TestMarker::new()?;
        let name = holder.to_possible_value().context("a holder without a name")?;
        let mut command = Command::new(env::current_exe()?);
        command.args(["hold", name.get_name(), &count.to_string()]).arg(program);
        command.env(TestMarker::VARIABLE, marker.value()).stdin(Stdio::piped()).stdout(Stdio::piped());
        #[expect(
            clippy::disallowed_methods,
            reason = "the holder is the subject of the benchmark; it is killed on drop"
        )]
        let mut process = command.spawn()?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().context("stdout was not piped")?;
        let up = StartTimes { announced: 0.0, ready: None };
        let mut held = Self { process, stdin, reports: BufReader::new(stdout).lines(), marker, up };
        held.up = held.next_report()?;
        Ok(held)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The process ids of the guards.
    pub(crate) fn guards(&self) -> Result<Vec<u32>> {
        let alive = self.marker.alive()?;
        Ok(alive
            .iter()
            .filter(|process| process.is_guard())
            .map(|process: &LiveProcess| process.pid)
            .collect())
    }

    /// Stops all sidecars, and then the holder.
    pub(crate) fn end(mut self) -> Result<Down> {
        drop(self.stdin.take());
        let down = self.next_report()?;
        let status = self.process.wait()?;
        ensure!(status.success(), "the holder ended with {status}");
        Ok(down)
    }

    fn next_report<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.reports.next().context("the holder ended too early")??;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for HolderProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Raises the descriptor limit of this process and its children to what `count` sidecars need.
fn make_room(count: usize) -> Result<()> {
    let needed = (100 + DESCRIPTORS * count) as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < needed) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).with_context(|| {
            format!("{count} sidecars need {needed} descriptors, and the hard limit is {maximum:?}")
        })?;
    }
    Ok(())
}

/// The resources that all threads of a process have used so far (`proc_pid_status(5)`). The kernel's
/// Documentation/scheduler/sched-stats.rst describes `schedstat`; it counts nanoseconds, while `stat` counts ticks.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
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
