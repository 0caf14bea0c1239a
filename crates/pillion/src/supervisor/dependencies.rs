//! Waiting for what a sidecar depends on.

use std::future;

use tokio::sync::watch;

use crate::{
    report::snapshot::{ReadyAnswer, Snapshot},
    state::Event,
};

/// Another sidecar that has to be ready first.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) snapshot: watch::Receiver<Snapshot>,
    /// Whether its failure is as good as its readiness.
    pub(crate) optional: bool,
}

/// What keeps a sidecar from being started.
#[derive(Debug)]
pub(crate) struct DependencyWait {
    after: Vec<Dependency>,
    told: Option<String>,
}

impl DependencyWait {
    pub(crate) fn new(after: Vec<Dependency>) -> Self {
        Self { after, told: None }
    }

    /// Waits until all are ready, or until it becomes known that one will not be without help. May be dropped and called
    /// again.
    pub(crate) async fn next(&mut self) -> Event {
        while let Some((closed, why)) = self.after.iter_mut().find_map(Dependency::closed) {
            if why.is_some() && why != self.told {
                self.told.clone_from(&why);
                return Event::DependencyFailed(why.unwrap_or_default());
            }
            if closed.changed().await.is_err() {
                // Its supervisor is gone, and with it every hope.
                future::pending::<()>().await;
            }
        }
        Event::DependenciesReady
    }
}

impl Dependency {
    /// Whether it is to be waited for, and what is wrong with it where that is known.
    fn closed(&mut self) -> Option<(&mut watch::Receiver<Snapshot>, Option<String>)> {
        let failure = match &self.snapshot.borrow_and_update().answer {
            ReadyAnswer::Up(_) => return None,
            ReadyAnswer::Down(_) if self.optional => return None,
            ReadyAnswer::Down(failure) => Some(failure.message.clone()),
            ReadyAnswer::Pending => None,
        };
        Some((&mut self.snapshot, failure))
    }
}
