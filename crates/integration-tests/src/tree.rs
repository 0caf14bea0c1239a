//! Everything that comes of one test of the supervisor, or of the `pillion` command.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use pillion::{Program, Restart, Spec};
use rustix::process::Signal;

use crate::{Living, Mark, PATIENCE};

/// The processes of one test. When it is dropped, what is left of them fails the test, and is killed.
///
/// Declare it before the handles that own the processes, so that those are dropped first.
#[derive(Debug)]
pub struct Tree {
    mark: Mark,
    sidecar: PathBuf,
}

impl Tree {
    /// A new mark. `sidecar` is the path of `fake-sidecar`.
    ///
    /// # Panics
    /// Where no `/proc` is mounted.
    #[must_use]
    pub fn new(sidecar: impl Into<PathBuf>) -> Self {
        Self { mark: Mark::new().expect("/proc is mounted"), sidecar: sidecar.into() }
    }

    /// What the processes have in their environment as [`Mark::VARIABLE`].
    #[must_use]
    pub fn mark(&self) -> &str {
        self.mark.value()
    }

    /// A sidecar called `sidecar` that runs `fake-sidecar` with `steps`, separated by spaces. It is not restarted.
    #[must_use]
    pub fn sidecar(&self, steps: &str) -> Spec {
        self.spec(self.fake(steps))
    }

    /// As [`sidecar`](Self::sidecar), under another name.
    #[must_use]
    pub fn named(&self, name: &str, steps: &str) -> Spec {
        Spec::run(name, self.fake(steps)).restart(Restart::Never)
    }

    /// A sidecar called `sidecar` that runs this program. It is not restarted.
    #[must_use]
    pub fn spec(&self, program: Program) -> Spec {
        Spec::run("sidecar", program).restart(Restart::Never)
    }

    /// `fake-sidecar` with `steps`, separated by spaces.
    #[must_use]
    pub fn fake(&self, steps: &str) -> Program {
        self.program(&self.sidecar).args(steps.split_ascii_whitespace())
    }

    /// Any other program. Its environment holds the mark, and the path of `fake-sidecar` as `FAKE`.
    #[must_use]
    pub fn program(&self, path: impl Into<PathBuf>) -> Program {
        Program::new(path).env(Mark::VARIABLE, self.mark()).env("FAKE", &self.sidecar)
    }

    /// The processes that are alive now.
    ///
    /// # Panics
    /// Where they could not be looked for.
    #[must_use]
    pub fn alive(&self) -> Vec<Living> {
        self.mark.alive().expect("the processes of the machine can be listed and held")
    }

    /// Those among them that are not guards.
    ///
    /// # Panics
    /// Where they could not be looked for.
    #[must_use]
    pub fn sidecars(&self) -> Vec<Living> {
        self.alive().into_iter().filter(|process| !process.is_guard()).collect()
    }

    /// Fails where anything is alive now.
    ///
    /// # Panics
    /// Where anything is.
    pub fn assert_dead(&self) {
        let alive = self.alive();
        assert!(alive.is_empty(), "these are still alive: {alive:?}");
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // A test that has failed already need not be waited for.
        let patience = if thread::panicking() { Duration::ZERO } else { PATIENCE };
        let deadline = Instant::now() + patience;
        let mut survivors = Vec::new();
        // Again and again, because a process may have started another one before it died.
        loop {
            let alive = self.alive();
            if alive.is_empty() {
                break;
            }
            for process in alive {
                if !process.ends_before(deadline) {
                    // It may have ended by itself just now.
                    let _ = process.signal(Signal::KILL);
                    survivors.push(process);
                }
            }
        }
        assert!(thread::panicking() || survivors.is_empty(), "these outlived the test: {survivors:?}");
    }
}
