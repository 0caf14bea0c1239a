//! An app and everything that it starts, which carries its mark.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use integration_tests::{LiveProcess, ProcessMarker};
use rustix::process::{Signal, kill_process};

use super::child;

/// How long an app's processes may outlive it.
const LINGER: Duration = Duration::from_secs(5);

/// A running app. Dropping it kills every process of it.
#[derive(Debug)]
pub(crate) struct Launch {
    shell: Child,
    marker: ProcessMarker,
    /// When it was spawned, in milliseconds since the epoch: the clock that its page shares with us.
    pub(crate) spawned_at: f64,
}

impl Launch {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let marker = ProcessMarker::new()?;
        command.env(ProcessMarker::VARIABLE, marker.value());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        #[expect(clippy::disallowed_methods, reason = "what the page measured goes by that clock")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        #[expect(clippy::disallowed_methods, reason = "the app is owned here, with all that it starts")]
        let shell = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { shell, marker, spawned_at: now.as_secs_f64() * 1e3 })
    }

    /// The proportional memory of all its processes, in bytes. One that has ended since holds nothing.
    pub(crate) fn pss(&self) -> Result<u64> {
        let held = |process: LiveProcess| child::memory(process.pid).map_or(0, |memory| memory.pss);
        Ok(self.marker.alive()?.into_iter().map(held).sum())
    }

    /// Ends the app with SIGTERM, and waits until none of its processes is left.
    pub(crate) fn end(mut self) -> Result<()> {
        kill_process(child::pid(self.shell.id())?, Signal::TERM)?;
        self.shell.wait()?;
        let deadline = Instant::now() + LINGER;
        loop {
            let left = self.marker.alive()?;
            if left.is_empty() {
                return Ok(());
            }
            if !left.iter().all(|process| process.ends_before(deadline)) {
                bail!("these outlived the app by {LINGER:?}: {left:?}");
            }
        }
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        for process in self.marker.alive().unwrap_or_default() {
            // One that has just ended cannot be killed, and need not be.
            let _ = process.signal(Signal::KILL);
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
