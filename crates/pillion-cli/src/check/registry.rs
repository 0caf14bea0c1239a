//! The supervisors of all runs, so that no process outlives the check, even when it is interrupted.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pillion::{Spec, Supervisor};
use tempfile::TempDir;
use tokio::runtime::Handle;

/// Starts supervisors, and keeps them until their processes are gone.
#[derive(Debug)]
pub(super) struct Registry {
    runtime: Handle,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    supervisors: Vec<(usize, Supervisor)>,
    started: usize,
    interrupted: bool,
}

/// Owns the processes of one run, and their temporary files. Dropping it kills them, and returns when none is left.
#[derive(Debug)]
pub(super) struct Owner {
    registry: Arc<Registry>,
    number: usize,
    pub(super) supervisor: Supervisor,
    /// Removed when the processes are gone, because fields are dropped after [`Drop::drop`].
    _temporary: TempDir,
}

impl Registry {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, running: Mutex::default() }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a supervisor, unless the check was interrupted.
    pub(super) fn start(self: &Arc<Self>, spec: Spec, temporary: TempDir) -> io::Result<Owner> {
        let mut running = self.running();
        if running.interrupted {
            return Err(io::Error::other("the check was interrupted"));
        }
        let _runtime = self.runtime.enter();
        let (supervisor, _events) = Supervisor::start(spec);
        running.started += 1;
        let number = running.started;
        running.supervisors.push((number, supervisor.clone()));
        Ok(Owner { registry: Arc::clone(self), number, supervisor, _temporary: temporary })
    }

    /// Kills all processes, and allows no further start. Returns when none is left.
    pub(super) async fn interrupt(&self) {
        let supervisors = {
            let mut running = self.running();
            running.interrupted = true;
            running.supervisors.clone()
        };
        for (_, supervisor) in supervisors {
            let _ = supervisor.kill().await;
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.registry.runtime.block_on(self.supervisor.kill());
        self.registry.running().supervisors.retain(|(number, _)| *number != self.number);
    }
}
