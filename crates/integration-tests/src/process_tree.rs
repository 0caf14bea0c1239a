//! All processes that one test of the supervisor, or of the `pillion` command, starts.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use pillion::{Program, Restart, Spec};
use rustix::process::Signal;

use crate::{LiveProcess, TEST_TIMEOUT, TestMarker};

/// The processes of one test. On drop, a process that is still alive fails the test and is killed.
///
/// Declare it before the handles that own the processes: Rust drops variables in reverse order.
#[derive(Debug)]
pub struct ProcessTree {
    marker: TestMarker,
    sidecar: PathBuf,
}

impl ProcessTree {
    /// A tree with a new marker. `sidecar` is the path of `fake-sidecar`.
    ///
    /// # Panics
    /// If `/proc` is not mounted.
    #[must_use]
    pub fn new(sidecar: impl Into<PathBuf>) -> Self {
        Self { marker: TestMarker::new().expect("/proc is mounted"), sidecar: sidecar.into() }
    }

    /// The value that its processes have in their environment as [`TestMarker::VARIABLE`].
    #[must_use]
    pub fn marker(&self) -> &str {
        self.marker.value()
    }

    /// A sidecar called `sidecar` that runs `fake-sidecar` with `steps`, separated by spaces. It is not restarted.
    #[must_use]
    pub fn sidecar(&self, steps: &str) -> Spec {
        self.spec(self.fake(steps))
    }

    /// As [`sidecar`](Self::sidecar), under another name.
    #[must_use]
    pub fn named(&self, name: &str, steps: &str) -> Spec {
        Spec::run(name, self.fake(steps)).restart(Restart::Never).ready_timeout(TEST_TIMEOUT)
    }

    /// A sidecar called `sidecar` that runs this program. It is not restarted, and it may start as slowly as a test may run.
    #[must_use]
    pub fn spec(&self, program: Program) -> Spec {
        Spec::run("sidecar", program).restart(Restart::Never).ready_timeout(TEST_TIMEOUT)
    }

    /// `fake-sidecar` with `steps`, separated by spaces.
    #[must_use]
    pub fn fake(&self, steps: &str) -> Program {
        self.program(&self.sidecar).args(steps.split_ascii_whitespace())
    }

    /// Any other program. Its environment holds the marker, and the path of `fake-sidecar` as `FAKE`.
    #[must_use]
    pub fn program(&self, path: impl Into<PathBuf>) -> Program {
        Program::new(path).env(TestMarker::VARIABLE, self.marker()).env("FAKE", &self.sidecar)
    }

    /// The processes that are alive now.
    ///
    /// # Panics
    /// If the processes of the machine cannot be listed.
    #[must_use]
    pub fn alive(&self) -> Vec<LiveProcess> {
        self.marker.alive().expect("the processes of the machine can be listed")
    }

    /// Those of them that are not guards.
    ///
    /// # Panics
    /// As [`Self::alive`].
    #[must_use]
    pub fn sidecars(&self) -> Vec<LiveProcess> {
        self.alive().into_iter().filter(|process| !process.is_guard()).collect()
    }

    /// Fails if a process is alive now.
    ///
    /// # Panics
    /// If one is.
    pub fn assert_dead(&self) {
        let alive = self.alive();
        assert!(alive.is_empty(), "these are still alive: {alive:?}");
    }
}

impl Drop for ProcessTree {
    fn drop(&mut self) {
        // After a failure, waiting would only delay the report.
        let timeout = if thread::panicking() { Duration::ZERO } else { TEST_TIMEOUT };
        let deadline = Instant::now() + timeout;
        let mut survivors = Vec::new();
        // Repeated, because a process may start another one before it dies.
        loop {
            let alive = self.alive();
            if alive.is_empty() {
                break;
            }
            for process in alive {
                if !process.ends_before(deadline) {
                    // It may have ended in the meantime.
                    let _ = process.signal(Signal::KILL);
                    survivors.push(process);
                }
            }
        }
        assert!(thread::panicking() || survivors.is_empty(), "these outlived the test: {survivors:?}");
    }
}
