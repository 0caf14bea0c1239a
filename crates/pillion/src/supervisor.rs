//! The handle to a supervised sidecar, and the actor behind it.

mod actor;
pub(crate) mod dependencies;
mod driver;
mod run;

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use actor::{Actor, Command};
use dependencies::Dependency;

use crate::{
    Access, Endpoint, Events, Failure, FailureKind, SidecarEvent, Spec, State, Status, StatusWatch,
    StopOutcome,
    report::events,
    report::snapshot::{ReadyAnswer, Snapshot},
};

/// A handle to a sidecar. Clones are handles to the same one.
///
/// When the last handle is dropped, the sidecar is stopped with grace in the background. When the tokio runtime shuts
/// down before that is finished, the process group is killed.
#[derive(Debug, Clone)]
pub struct Supervisor {
    name: String,
    commands: mpsc::UnboundedSender<Command>,
    snapshot: watch::Receiver<Snapshot>,
    events: broadcast::WeakSender<SidecarEvent>,
}

impl Supervisor {
    /// Starts the sidecar in the background, and returns its handle with the events from the very first on. Whoever
    /// does not need the events drops them.
    ///
    /// Never fails by itself: a program that cannot be started is a [`FailureKind::Spawn`] of [`ready`](Self::ready).
    ///
    /// # Panics
    /// Outside the context of a tokio runtime with I/O and time enabled.
    #[must_use]
    pub fn start(spec: Spec) -> (Self, Events) {
        Self::start_after(spec, Vec::new())
    }

    pub(crate) fn start_after(spec: Spec, after: Vec<Dependency>) -> (Self, Events) {
        let state = if after.is_empty() { State::Starting } else { State::Waiting };
        let (commands, obeyed) = mpsc::unbounded_channel();
        let (published, snapshot) = watch::channel(Snapshot::initial(&spec, state));
        let (sender, receiver) = broadcast::channel(events::CAPACITY);
        let supervisor = Self {
            name: spec.name.clone(),
            commands,
            snapshot: snapshot.clone(),
            events: sender.downgrade(),
        };
        tokio::spawn(Actor::new(spec, after, obeyed, published, sender).run());
        (supervisor, Events::new(receiver, snapshot, false))
    }

    /// The sidecar's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The present status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.snapshot.borrow().status.clone()
    }

    /// The present status, and then its changes.
    #[must_use]
    pub fn watch(&self) -> StatusWatch {
        StatusWatch::new(self.snapshot.clone())
    }

    /// Everything that happens from now on, the present status first. `None` once the sidecar is down for good.
    #[must_use]
    pub fn subscribe(&self) -> Option<Events> {
        let receiver = self.events.upgrade()?.subscribe();
        Some(Events::new(receiver, self.snapshot.clone(), true))
    }

    /// Waits until the sidecar is ready, and says where it is. May be dropped at any time.
    ///
    /// # Errors
    /// As soon as it is known that the sidecar will not be ready without somebody asking for it: it could not be
    /// started, died, took too long, or was stopped. The failure carries exit status and last lines of output.
    pub async fn ready(&self) -> Result<Endpoint, Failure> {
        self.settled().await.map(|(endpoint, _)| endpoint)
    }

    /// Waits as [`ready`](Self::ready) does, and gives what a request to that very run needs, its token included. For
    /// whoever may call the sidecar, and nobody else.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready).
    pub async fn access(&self) -> Result<Access, Failure> {
        // What is up can be reached.
        self.settled().await?.1.ok_or_else(|| self.closed())
    }

    /// The run that is up, or why there will be none.
    async fn settled(&self) -> Result<(Endpoint, Option<Access>), Failure> {
        let mut snapshot = self.snapshot.clone();
        let settled = snapshot.wait_for(|snapshot| snapshot.answer != ReadyAnswer::Pending).await;
        match settled.map(|snapshot| (snapshot.answer.clone(), snapshot.access.clone())) {
            // What was up when the runtime shut down was killed with it, and nobody was left to say so.
            Ok((ReadyAnswer::Up(endpoint), access)) if !self.commands.is_closed() => Ok((endpoint, access)),
            Ok((ReadyAnswer::Down(failure), _)) => Err(failure),
            Ok((ReadyAnswer::Up(_) | ReadyAnswer::Pending, _)) | Err(_) => Err(self.closed()),
        }
    }

    /// Starts the sidecar again, after stopping it with grace where it still runs, and waits until it is ready. A start
    /// that is under way already is waited for. Dropping the future does not take the request back.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready), and [`FailureKind::Stopped`] after a [`close`](Self::close).
    pub async fn restart(&self) -> Result<Endpoint, Failure> {
        if self.ask(Command::Restart).await.is_none() {
            return Err(self.closed());
        }
        self.ready().await
    }

    /// Replaces the process by a new one of the same program without a gap: starts it beside the present one, waits until
    /// it is ready, and only then lets go of the present one, which is stopped with grace. The new one has another port,
    /// which [`watch`](Self::watch) tells. Dropping the future does not take the request back.
    ///
    /// # Errors
    /// When the new process does not get ready, or when a restart, a stop or another swap is asked for meanwhile. Nothing
    /// has changed then.
    pub async fn swap(&self) -> Result<Endpoint, Failure> {
        self.ask_to_swap(None).await
    }

    /// As [`swap`](Self::swap), by another specification, which holds from then on if it works. It keeps the name.
    ///
    /// # Errors
    /// As for [`swap`](Self::swap).
    pub async fn swap_to(&self, mut spec: Spec) -> Result<Endpoint, Failure> {
        spec.name.clone_from(&self.name);
        self.ask_to_swap(Some(Box::new(spec))).await
    }

    async fn ask_to_swap(&self, spec: Option<Box<Spec>>) -> Result<Endpoint, Failure> {
        match self.ask(|answer| Command::Swap(spec, answer)).await {
            Some(Ok(())) => self.ready().await,
            Some(Err(failure)) => Err(failure),
            None => Err(self.closed()),
        }
    }

    /// What another sidecar needs to wait for this one.
    pub(crate) fn as_dependency(&self, optional: bool) -> Dependency {
        Dependency { snapshot: self.snapshot.clone(), optional }
    }

    /// Stops the sidecar: asks it, waits for the grace period, kills what is left of its process group. Returns when
    /// nothing is left. Dropping the future does not take the request back.
    pub async fn stop(&self) -> StopOutcome {
        self.ask(Command::Stop).await.unwrap_or(StopOutcome::NotRunning)
    }

    /// Kills the sidecar's process group at once, also in the middle of a stop, and returns when nothing is left.
    /// Dropping the future does not take the request back.
    pub async fn kill(&self) -> StopOutcome {
        self.ask(Command::Kill).await.unwrap_or(StopOutcome::NotRunning)
    }

    /// Stops the sidecar as [`stop`](Self::stop) does, for the last time: from now on every start is refused, also one
    /// that was asked for before and has not begun. For a program that ends. Dropping the future does not take the
    /// request back.
    pub async fn close(&self) -> StopOutcome {
        self.ask(Command::Close).await.unwrap_or(StopOutcome::NotRunning)
    }

    /// Has every start refused from now on, also those that the supervisor would make by itself, and stops nothing yet.
    pub(crate) fn refuse_starts(&self) {
        // An error means that it is down for good.
        let _ = self.commands.send(Command::RefuseStarts);
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).ok()?;
        answered.await.ok()
    }

    /// Somebody closed it, or the runtime shut down and killed the sidecar on its way.
    fn closed(&self) -> Failure {
        let message = format!("{} is not supervised any more: the program is ending", self.name);
        Failure::new(FailureKind::Stopped, &self.name, message)
    }
}
