//! Waits for the dependencies of a sidecar.

use std::future;

use tokio::sync::watch;

use crate::{
    report::snapshot::{ReadyAnswer, Snapshot},
    spawn::login_shell,
    spec::DependencyAddress,
    state::Event,
};

/// A sidecar that must be ready first.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) snapshot: watch::Receiver<Snapshot>,
    /// Whether its failure also releases the dependents.
    pub(crate) optional: bool,
}

/// The wait for all dependencies, and then for the environment of the login shell if the program inherits it.
#[derive(Debug)]
pub(crate) struct DependencyWait {
    dependencies: Vec<Dependency>,
    /// The failure that was reported last.
    reported: Option<String>,
    /// Whether the program inherits the environment of the login shell.
    login_shell: bool,
}

impl DependencyWait {
    pub(crate) fn new(dependencies: Vec<Dependency>, login_shell: bool) -> Self {
        Self { dependencies, reported: None, login_shell }
    }

    /// Waits until all are ready, or until one has a failure that was not reported yet. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Event {
        while let Some((snapshot, why)) = self.dependencies.iter_mut().find_map(Dependency::unready) {
            if why.is_some() && why != self.reported {
                self.reported.clone_from(&why);
                return Event::DependencyFailed(why.unwrap_or_default());
            }
            if snapshot.changed().await.is_err() {
                // Its supervisor is gone, so it can never become ready.
                future::pending::<()>().await;
            }
        }
        if self.login_shell {
            login_shell::wait().await;
        }
        Event::DependenciesReady
    }
}

impl Dependency {
    /// Where it is reached now.
    pub(crate) fn address(&self) -> DependencyAddress {
        let status = &self.snapshot.borrow().status;
        DependencyAddress { name: status.sidecar.clone(), port: status.port, url: status.url.clone() }
    }

    /// The snapshot of a dependency that is not ready, and its failure if it has one.
    fn unready(&mut self) -> Option<(&mut watch::Receiver<Snapshot>, Option<String>)> {
        let failure = match &self.snapshot.borrow_and_update().answer {
            ReadyAnswer::Up(_) => return None,
            ReadyAnswer::Down(_) if self.optional => return None,
            ReadyAnswer::Down(failure) => Some(failure.message.clone()),
            ReadyAnswer::Pending => None,
        };
        Some((&mut self.snapshot, failure))
    }
}
