//! The handle to a supervised sidecar, and the actor behind it.

mod actor;
mod command;
pub(crate) mod dependencies;
pub(crate) mod driver;
mod lease;
mod prepared_http_stop;
mod run;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use actor::Actor;
use command::Command;
use dependencies::Dependency;
pub use lease::Lease;

use crate::{
    Access, Endpoint, Events, ExitReport, Failure, FailureKind, LogQuery, Logs, SidecarEvent, Spec, State,
    Status, StatusWatch, StopOutcome, UsageWatch,
    report::event_channel::{self, WeakEventSender},
    report::events,
    report::snapshot::{ReadyAnswer, Snapshot},
    report::{
        exit_reports::ExitReports,
        history::{History, Recorder},
        log_file::LogFile,
        record::Record,
        usage::LastMeasurement,
    },
    spec::ServerSource,
    state::Requester,
    task::task,
};

/// A handle to a sidecar. A clone is a handle to the same sidecar.
///
/// Dropping the last handle stops the sidecar in the background, with its grace period. If the tokio runtime shuts down first, the
/// process group is killed.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use pillion::{Program, Spec, Supervisor};
///
/// let program = Program::new("./backend").arg("--port-from-os");
/// let (backend, _events) = Supervisor::start(Spec::run("backend", program));
/// match backend.ready().await {
///     Ok(endpoint) => println!("call it at {}", endpoint.base_url().unwrap_or("no address")),
///     Err(failure) => eprintln!("{failure}\n{}", failure.detail.tail.join("\n")),
/// }
/// let _ = backend.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Supervisor {
    name: String,
    commands: mpsc::UnboundedSender<Command>,
    snapshot: watch::Receiver<Snapshot>,
    events: WeakEventSender<SidecarEvent>,
    history: History,
    reports: ExitReports,
    measured: LastMeasurement,
    on_demand: bool,
}

impl Supervisor {
    /// Starts the sidecar in the background, or at its first use if it runs [on demand](Spec::on_demand). Returns its handle, and its
    /// events from the first one on; drop the events if you do not need them.
    ///
    /// This call cannot fail. If the program cannot be started, [`ready`](Self::ready) returns [`FailureKind::Spawn`].
    ///
    /// # Panics
    /// Outside the context of a tokio runtime with I/O and time enabled.
    #[must_use]
    #[track_caller]
    pub fn start(spec: Spec) -> (Self, Events) {
        Self::start_after(spec, Vec::new())
    }

    #[track_caller]
    pub(crate) fn start_after(spec: Spec, after: Vec<Dependency>) -> (Self, Events) {
        assert!(
            tokio::runtime::Handle::try_current().is_ok(),
            "a sidecar needs a tokio runtime: start it in an async function, or hold the result of `Runtime::enter` meanwhile"
        );
        let state = match (spec.on_demand, after.is_empty()) {
            (true, _) => State::Idle,
            (false, true) => State::Starting,
            (false, false) => State::Waiting,
        };
        let (commands, received) = mpsc::unbounded_channel();
        let (published, snapshot) = watch::channel(Snapshot::initial(&spec, state));
        let (sender, receiver) = event_channel::channel(events::CAPACITY);
        let events = sender.downgrade();
        let file = spec.log_files.as_ref().filter(|_| matches!(spec.source, ServerSource::Run(_)));
        let file = file.and_then(|files| LogFile::start(files, &spec.name, events.clone()));
        let (recorder, history) = Recorder::new(sender, file);
        let spec = Arc::new(spec);
        history.record().add_spec(Arc::clone(&spec));
        let supervisor = Self {
            name: spec.name.clone(),
            commands,
            snapshot: snapshot.clone(),
            events: events.clone(),
            history,
            reports: ExitReports::new(&spec.name, spec.exit_reports.as_deref()),
            measured: LastMeasurement::default(),
            on_demand: spec.on_demand,
        };
        let reports = supervisor.reports.clone();
        if spec.exit_reports.is_some() {
            tokio::spawn(task(reports.clone().load(events)));
        }
        // Creating the actor begins the launch, on a thread beside the runtime: it waits for no worker of the runtime.
        let actor = Actor::new(spec, after, received, published, reports, recorder);
        tokio::spawn(task(actor.run()));
        (supervisor, Events::new(receiver, snapshot, false))
    }

    /// The name of the sidecar.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The present status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.snapshot.borrow().status.clone()
    }

    /// The present status first, then its changes.
    #[must_use]
    pub fn watch(&self) -> StatusWatch {
        StatusWatch::new(self.snapshot.clone())
    }

    /// The present status first, then all events from now on. `None` if the sidecar is down for good.
    #[must_use]
    pub fn subscribe(&self) -> Option<Events> {
        let receiver = self.events.upgrade()?.subscribe();
        Some(Events::new(receiver, self.snapshot.clone(), true))
    }

    /// The output of the sidecar: lines that are kept from before this call, and then those to come, without a gap or a repetition, also
    /// across restarts. About the newest 20,000 lines are kept, or fewer if they take more than 2 MiB, and also after the sidecar went down.
    ///
    /// ```no_run
    /// # async fn example(backend: pillion::Supervisor) {
    /// use pillion::{Level, Log, LogQuery};
    ///
    /// let mut logs = backend.logs(LogQuery::default().levels(true));
    /// while let Some(log) = logs.next().await {
    ///     if let Log::Lines { entries, .. } = log {
    ///         for entry in entries.iter().filter(|entry| entry.level == Some(Level::Error)) {
    ///             println!("run {}: {}", entry.run, entry.plain_text());
    ///         }
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn logs(&self, query: LogQuery) -> Logs {
        self.history.read(query)
    }

    /// The reports about the last 20 runs that have ended, newest last; with [`Spec::keep_exit_reports`] also those of earlier starts of
    /// this program, for whose files this method waits. Cancel-safe.
    pub async fn exit_reports(&self) -> Vec<ExitReport> {
        self.reports.all().await
    }

    /// What all processes of the present run use: processor time, memory, and the numbers of processes and open descriptors. They are
    /// measured while the caller waits for the next value, every second unless [`UsageWatch::every`] says otherwise. During a swap the
    /// candidate does not count. A figure that the system does not tell is `None`.
    #[must_use]
    pub fn usage(&self) -> UsageWatch {
        UsageWatch::new(self.name.clone(), self.snapshot.clone(), self.measured.clone())
    }

    /// Waits until the sidecar is ready, and returns its endpoint, which has no URL if the sidecar has no address. Cancel-safe: the future
    /// may be dropped at any time.
    ///
    /// A sidecar that runs [on demand](Spec::on_demand) is in use until this method returns, and is started if it is idle. Hold a
    /// [lease](Self::lease) to use the endpoint for longer than the time without a use.
    ///
    /// # Errors
    /// As soon as the sidecar cannot become ready without another request: it could not be started, it died, it took too long, or
    /// it was stopped. The failure carries the exit status and the last lines of output.
    pub async fn ready(&self) -> Result<Endpoint, Failure> {
        self.settled().await.map(|(endpoint, _)| endpoint)
    }

    /// Waits as [`ready`](Self::ready) does, and returns what requests to that run need, the token included. Pass it only to
    /// callers that may use the sidecar. Cancel-safe.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready), and [`FailureKind::NoPort`] for a ready sidecar without an address.
    pub async fn access(&self) -> Result<Access, Failure> {
        let (endpoint, access) = self.settled().await?;
        access.ok_or_else(|| endpoint.no_address())
    }

    /// Begins a use of a sidecar that runs [on demand](Spec::on_demand), which lasts until the lease is dropped: an idle sidecar starts,
    /// and is not stopped for lack of a use. Call [`ready`](Self::ready) or [`access`](Self::access) afterwards to wait for the run. For
    /// other sidecars, the lease has no effect.
    ///
    /// ```no_run
    /// # async fn example(backend: pillion::Supervisor) -> Result<(), pillion::Failure> {
    /// let lease = backend.lease();
    /// let endpoint = backend.ready().await?;
    /// // Send requests to `endpoint`, and read the responses.
    /// drop(lease);
    /// # Ok(())
    /// # }
    /// ```
    pub fn lease(&self) -> Lease {
        if self.on_demand { Lease::begin(&self.commands).0 } else { Lease::uncounted() }
    }

    /// Whether the sidecar runs [on demand](Spec::on_demand), so that a client has to hold a [lease](Self::lease).
    #[must_use]
    pub fn is_on_demand(&self) -> bool {
        self.on_demand
    }

    /// The run that is up, or the failure.
    async fn settled(&self) -> Result<(Endpoint, Option<Access>), Failure> {
        let mut snapshot = self.snapshot.clone();
        let mut accepted = true;
        let _lease = if self.on_demand {
            let (lease, counted) = Lease::begin(&self.commands);
            accepted = counted.await.is_ok();
            lease
        } else {
            Lease::uncounted()
        };
        let pending = |answer: &ReadyAnswer| match answer {
            ReadyAnswer::Pending => true,
            ReadyAnswer::Idle => accepted,
            ReadyAnswer::Up(_) | ReadyAnswer::Down(_) => false,
        };
        let settled = snapshot.wait_for(|snapshot| !pending(&snapshot.answer)).await;
        match settled.map(|snapshot| (snapshot.answer.clone(), snapshot.access.clone())) {
            // A runtime that shut down has killed the sidecar without a last status.
            Ok((ReadyAnswer::Up(endpoint), access)) if !self.commands.is_closed() => Ok((endpoint, access)),
            Ok((ReadyAnswer::Down(failure), _)) => Err(failure),
            Ok((ReadyAnswer::Up(_) | ReadyAnswer::Pending | ReadyAnswer::Idle, _)) | Err(_) => {
                Err(self.closed())
            }
        }
    }

    /// Stops the sidecar if it runs, starts it, and waits until it is ready. If a start is already under way, waits for that one.
    /// Dropping the future does not cancel the restart.
    ///
    /// # Errors
    /// As for [`ready`](Self::ready), and [`FailureKind::Stopped`] after a [`close`](Self::close).
    pub async fn restart(&self) -> Result<Endpoint, Failure> {
        if self.begin_restart().await { self.ready().await } else { Err(self.closed()) }
    }

    /// Restarts as [`restart`](Self::restart) does, with another specification, which replaces the old one: for a setting of the user
    /// that the program reads at its start alone, such as an argument. The new process starts when no process of the old one is
    /// left, so that both may need the same file or device. A start that is under way is given up.
    ///
    /// The port stays if it is free. What stays in any case: the name, the dependencies, whether it runs on demand, and the log files
    /// ([`Spec::log_files`]).
    ///
    /// # Errors
    /// As for [`restart`](Self::restart). A new process that does not become ready does not bring the old one back.
    pub async fn restart_to(&self, spec: Spec) -> Result<Endpoint, Failure> {
        let spec = Box::new(self.renamed(spec));
        match self.ask(|under_way| Command::RestartTo(spec, under_way)).await {
            Some(()) => self.ready().await,
            None => Err(self.closed()),
        }
    }

    /// The specification with the name of this sidecar, whose secrets a diagnosis then leaves out.
    fn renamed(&self, mut spec: Spec) -> Spec {
        spec.name.clone_from(&self.name);
        self.record().add_spec(Arc::new(spec.clone()));
        spec
    }

    /// Begins a restart: from then on, [`ready`](Self::ready) waits for it. Returns whether the sidecar is still supervised.
    pub(crate) async fn begin_restart(&self) -> bool {
        self.ask(Command::Restart).await.is_some()
    }

    /// Requests a restart, and does not wait for it.
    pub(crate) fn request_restart(&self) {
        // An error means that the sidecar is down for good. The answer only says that the actor has accepted the request.
        let _ = self.commands.send(Command::Restart(oneshot::channel().0));
    }

    /// Replaces the process without a gap: starts the same program again beside the present process, waits until the new process
    /// is ready, then switches to it and stops the old one. The new process has another port; [`watch`](Self::watch) reports it.
    /// Dropping the future does not cancel the swap.
    ///
    /// # Errors
    /// If the new process does not become ready, or if a restart, a stop or another swap is requested meanwhile. Then the present
    /// process stays.
    pub async fn swap(&self) -> Result<Endpoint, Failure> {
        self.ask_to_swap(None).await
    }

    /// Swaps as [`swap`](Self::swap) does, to another specification. If the swap succeeds, the new specification replaces the
    /// old one; the name stays, and so do the log files: output goes on into those of the first specification
    /// ([`Spec::log_files`]), or into none.
    ///
    /// # Errors
    /// As for [`swap`](Self::swap).
    pub async fn swap_to(&self, spec: Spec) -> Result<Endpoint, Failure> {
        self.ask_to_swap(Some(Box::new(self.renamed(spec)))).await
    }

    async fn ask_to_swap(&self, spec: Option<Box<Spec>>) -> Result<Endpoint, Failure> {
        match self.ask(|answer| Command::Swap(spec, answer)).await {
            Some(Ok(())) => self.ready().await,
            Some(Err(failure)) => Err(failure),
            None => Err(self.closed()),
        }
    }

    /// This sidecar as a dependency of another one.
    pub(crate) fn as_dependency(&self, optional: bool, restart: bool) -> Dependency {
        let commands = self.on_demand.then(|| self.commands.downgrade());
        Dependency { snapshot: self.snapshot.clone(), optional, restart, commands }
    }

    /// Stops the sidecar: asks its first process and then the others to end, waits for the grace period, and kills those that are left.
    /// Returns when no process is left. Dropping the future does not cancel the stop.
    pub async fn stop(&self) -> StopOutcome {
        self.stop_for(Requester::Stop).await
    }

    /// Stops the sidecar as [`stop`](Self::stop) does, for this part of the program.
    pub(crate) async fn stop_for(&self, by: Requester) -> StopOutcome {
        self.ask(|answer| Command::Stop(by, answer)).await.unwrap_or(StopOutcome::NotRunning)
    }

    /// Kills the process group of the sidecar at once, also during a stop. Returns when no process is left. Dropping the future does
    /// not cancel the kill.
    pub async fn kill(&self) -> StopOutcome {
        self.ask(Command::Kill).await.unwrap_or(StopOutcome::NotRunning)
    }

    /// Stops the sidecar as [`stop`](Self::stop) does, for the last time: every later start is refused, and so is one that was
    /// requested before but has not begun. Call it when the program ends. Dropping the future does not cancel it.
    pub async fn close(&self) -> StopOutcome {
        self.ask(Command::Close).await.unwrap_or(StopOutcome::NotRunning)
    }

    /// Refuses every start from now on, automatic restarts included. Stops nothing.
    pub(crate) fn refuse_starts(&self) {
        // An error means that the sidecar is down for good.
        let _ = self.commands.send(Command::RefuseStarts);
    }

    /// What is remembered for a diagnosis.
    pub(crate) fn record(&self) -> &Record {
        self.history.record()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).ok()?;
        answered.await.ok()
    }

    /// The failure after a close, or after the runtime shut down and killed the sidecar.
    fn closed(&self) -> Failure {
        let message = format!("{} is no longer supervised: the program is ending", self.name);
        Failure::new(FailureKind::Stopped, &self.name, message)
    }
}

#[cfg(test)]
mod tests;
