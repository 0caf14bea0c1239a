//! The local ports of the probes that are not answered yet, so that their requests are told from those of clients.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The ports, shared with the probes.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenProbes(Arc<Mutex<Vec<u16>>>);

impl OpenProbes {
    pub(super) fn ports(&self) -> Vec<u16> {
        self.lock().clone()
    }

    /// Adds the port for as long as the returned value exists.
    pub(super) fn add(&self, port: u16) -> OpenProbe {
        self.lock().push(port);
        OpenProbe { all: self.clone(), port }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) struct OpenProbe {
    all: OpenProbes,
    port: u16,
}

impl Drop for OpenProbe {
    fn drop(&mut self) {
        self.all.lock().retain(|port| *port != self.port);
    }
}
