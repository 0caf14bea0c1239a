//! An app and all its processes, found by a marker in their environment.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use integration_tests::{LiveProcess, TestMarker};
use rustix::process::{Signal, kill_process};

use super::child;

/// How long the processes of an app may outlive it.
const SURVIVAL_LIMIT: Duration = Duration::from_secs(5);

/// How much of the stderr of an app an error holds, in bytes.
const STDERR_END: usize = 4096;

/// A running app. Drop kills all its processes.
#[derive(Debug)]
pub(crate) struct LaunchedApp {
    shell: Child,
    /// A file without a name. It is read by [`LaunchedApp::stderr_end`].
    stderr: File,
    marker: TestMarker,
    /// The time of the spawn in milliseconds since the epoch. The page uses the same clock.
    pub(crate) spawned_at: f64,
}

/// Milliseconds since the epoch.
pub(crate) fn now() -> f64 {
    #[expect(clippy::disallowed_methods, reason = "the page measures with the same clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3
}

impl LaunchedApp {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let marker = TestMarker::new()?;
        command.env(TestMarker::VARIABLE, marker.value());
        let stderr = tempfile::tempfile()?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr.try_clone()?);
        let spawned_at = now();
        #[expect(clippy::disallowed_methods, reason = "drop kills the app and all its processes")]
        let shell = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { shell, stderr, marker, spawned_at })
    }

    /// The process id of the app itself.
    pub(crate) fn id(&self) -> u32 {
        self.shell.id()
    }

    /// An error if the app has ended, with its exit status and the end of its stderr.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.shell.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the app has ended ({status}){}", self.stderr_end()),
        }
    }

    /// The last bytes of what the app wrote to stderr, as the end of an error message: empty if there are none.
    pub(crate) fn stderr_end(&self) -> String {
        let mut end = vec![0; STDERR_END];
        // Not by the file's position, which is also that of the app.
        let read = self.stderr.metadata().and_then(|file| {
            let from = file.len().saturating_sub(STDERR_END as u64);
            self.stderr.read_at(&mut end, from)
        });
        match read {
            Err(error) => format!("; its stderr could not be read: {error}"),
            Ok(0) => String::new(),
            Ok(length) => {
                format!("; the end of its stderr:\n{}", String::from_utf8_lossy(&end[..length]).trim())
            }
        }
    }

    /// The proportional memory of all its processes in bytes. A process that has ended counts as zero.
    pub(crate) fn pss(&self) -> Result<u64> {
        let held = |process: LiveProcess| child::memory(process.pid).map_or(0, |memory| memory.pss);
        Ok(self.marker.alive()?.into_iter().map(held).sum())
    }

    /// Ends the app with SIGTERM, and waits for the end of all its processes.
    pub(crate) fn end(mut self) -> Result<()> {
        kill_process(child::pid(self.shell.id())?, Signal::TERM)?;
        self.shell.wait()?;
        let deadline = Instant::now() + SURVIVAL_LIMIT;
        loop {
            let left = self.marker.alive()?;
            if left.is_empty() {
                return Ok(());
            }
            if !left.iter().all(|process| process.ends_before(deadline)) {
                bail!("these outlived the app by {SURVIVAL_LIMIT:?}: {left:?}");
            }
        }
    }
}

impl Drop for LaunchedApp {
    fn drop(&mut self) {
        kill_marked(&self.marker);
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Kills all processes with this marker that are alive now.
pub(crate) fn kill_marked(marker: &TestMarker) {
    for process in marker.alive().unwrap_or_default() {
        // It may have ended in the meantime.
        let _ = process.signal(Signal::KILL);
    }
}
