//! An app and everything that it starts: found by a mark in the environment, which each process inherits whatever it
//! does to its parents, groups and sessions.

use std::{
    fs, process,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

use super::child;

const MARK: &str = "PILLION_BENCH_LAUNCH";
/// How long an app's processes may outlive it.
const LINGER: Duration = Duration::from_secs(5);

/// A running app. Dropping it kills every process of it.
#[derive(Debug)]
pub(crate) struct Launch {
    shell: Child,
    mark: String,
    /// When it was spawned, in milliseconds since the epoch: the clock that its page shares with us.
    pub(crate) spawned_at: f64,
}

impl Launch {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        static LAUNCHES: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", process::id(), LAUNCHES.fetch_add(1, Ordering::Relaxed));
        command.env(MARK, &mark).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        #[expect(clippy::disallowed_methods, reason = "the app is owned here, with all that it starts")]
        let shell = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { shell, mark, spawned_at: now.as_secs_f64() * 1e3 })
    }

    /// The proportional memory of all its processes, in bytes. One that has ended since holds nothing.
    pub(crate) fn pss(&self) -> Result<u64> {
        let held = |pid: Pid| {
            child::memory(pid.as_raw_nonzero().get().unsigned_abs()).map_or(0, |memory| memory.pss)
        };
        Ok(self.processes()?.into_iter().map(held).sum())
    }

    /// Ends the app with SIGTERM, and waits until none of its processes is left.
    pub(crate) fn end(mut self) -> Result<()> {
        kill_process(child::pid(self.shell.id())?, Signal::TERM)?;
        self.shell.wait()?;
        let asked = Instant::now();
        loop {
            let left = self.processes()?;
            if left.is_empty() {
                return Ok(());
            }
            for pid in &left {
                let Some(time) = LINGER.checked_sub(asked.elapsed()) else {
                    bail!("{} processes of {} outlived it by {LINGER:?}", left.len(), self.mark);
                };
                wait_for_end(*pid, time)?;
            }
        }
    }

    /// The processes that carry the mark. A dead one that nobody has reaped yet has no environment any more.
    fn processes(&self) -> Result<Vec<Pid>> {
        let mark = format!("{MARK}={}", self.mark);
        let mut pids = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
                continue;
            };
            // Gone since, or another user's: not ours.
            let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
                pids.push(pid);
            }
        }
        Ok(pids)
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        for pid in self.processes().unwrap_or_default() {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Waits until the process is dead, or the time is over: its pidfd becomes readable then (`pidfd_open(2)`).
fn wait_for_end(pid: Pid, time: Duration) -> Result<()> {
    let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    poll(&mut [PollFd::new(&held, PollFlags::IN)], Some(&Timespec::try_from(time)?))?;
    Ok(())
}
