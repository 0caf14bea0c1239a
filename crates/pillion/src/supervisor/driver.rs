//! The driver: runs the state machine of one sidecar through all its runs, and executes the actions.

mod actions;
mod address;
mod exit_report;
mod memory;
mod notify;
mod reading;
mod spans;
pub(crate) mod timers;
mod unannounced;

use std::{future::Future, io, net::SocketAddr, num::NonZeroU16, pin::Pin, sync::Arc};

use pillion_protocol::health::HealthReport;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use reading::read;
use spans::Spans;

use crate::{
    alarm::Alarm,
    health::liveness::{LivenessMonitor, LivenessResult},
    health::memory::{MemoryFinding, MemoryMonitor},
    health::not_ready::NotReady,
    health::watchdog::Watchdog,
    output::Read,
    report::snapshot::{Measured, ReadyAnswer, StatusInputs},
    report::{exit_reports::ExitReports, history::Recorder},
    spec::{Restart, ServerSource, Spec, Transport},
    state::{Demand, Event, Lifecycle, Restarts, Timer},
    status::{Exit, StopOutcome},
    supervisor::dependencies::{Dependency, DependencyMove, DependencyMoves, DependencyRestart, LaunchWait},
    supervisor::lease::Lease,
    supervisor::run::{NoticeKind, OwnedProcess, Run},
    transport::handover::Handover,
    transport::notification::Notified,
};

/// A future that keeps its progress between two calls of [`Driver::next`].
type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The state machine of a sidecar, and its present run.
pub(crate) struct Driver {
    spec: Arc<Spec>,
    after: Vec<Dependency>,
    recorder: Recorder,
    reports: ExitReports,
    state: Lifecycle,
    restarts: Restarts,
    /// The zero of the times that the state machine receives.
    created: Instant,
    run: Run,
    /// The listener that each run receives, if the specification asks for one.
    handover: Option<Handover>,
    /// The declared port of the last run.
    previous_port: Option<NonZeroU16>,
    /// The stop outcome of the last run.
    outcome: StopOutcome,
    /// Has a receiver as long as a driver has processes in whose place this one starts.
    predecessors: Option<watch::Sender<bool>>,
    /// The uses of dependencies that run on demand, while this sidecar is not down.
    leases: Vec<Lease>,

    // What `next` waits for. Each is set only in the states that need it.
    launch_wait: Option<LaunchWait>,
    dependency_restart: Option<DependencyRestart>,
    dependency_moves: Option<DependencyMoves>,
    launch: Option<Pending<Option<(Run, Event)>>>,
    deadline: Option<Instant>,
    /// Rings at the deadline.
    alarm: Alarm,
    /// When the timer of the start began.
    start_began: Option<Instant>,
    probe: Option<(u32, Pending<Result<HealthReport, NotReady>>)>,
    liveness: Option<LivenessMonitor>,
    watchdog: Option<Watchdog>,
    memory: Option<MemoryMonitor>,
    /// Ends when a process that announces no port listens.
    unannounced: Option<Pending<Option<Vec<SocketAddr>>>>,
    group_empty: Option<Pending<()>>,
    http_stop: Option<Pending<io::Result<()>>>,
    /// The reports that are being written to files.
    saving: Option<Pending<()>>,
    /// How often output was read since other tasks had their turn.
    reads_in_turn: usize,
    spans: Spans,
}

/// What the driver waits for.
pub(crate) enum Input {
    Output(Read),
    /// `None` if no thread could be started for it.
    Launched(Option<Box<(Run, Event)>>),
    Probed(Result<HealthReport, NotReady>),
    Liveness(LivenessResult),
    Exited(Exit),
    Gone,
    Expired,
    /// New words of progress are due.
    Progress,
    Notified(Notified),
    /// `WATCHDOG=1` is overdue.
    Overdue,
    Memory(MemoryFinding),
    /// The process listens there, and has announced no port. `None` if it is gone.
    Unannounced(Option<Vec<SocketAddr>>),
    /// `None` if it waits for something else now.
    Waited(Option<Event>),
    DependencyRestarted(Event),
    DependencyMoved(DependencyMove),
    HttpStopAnswered(io::Result<()>),
    /// The exit reports are written.
    Saved,
}

impl Driver {
    /// Creates the driver. It starts the sidecar as soon as the dependencies are ready.
    pub(crate) fn begin(
        spec: Arc<Spec>,
        after: Vec<Dependency>,
        reports: ExitReports,
        recorder: Recorder,
    ) -> Self {
        // In use until the actor says otherwise: a candidate must not become idle.
        Self::new(spec, after, reports, recorder, true).begun()
    }

    /// Creates the driver that starts another specification once `predecessors` has no receiver. It goes on with the port and the
    /// listener of this one, which only ends.
    pub(crate) fn successor(&mut self, spec: Arc<Spec>, predecessors: watch::Sender<bool>) -> Self {
        let (after, reports, recorder) = (self.after.clone(), self.reports.clone(), self.recorder.clone());
        let mut driver = Self::new(spec, after, reports, recorder, true);
        driver.previous_port = self.previous_port;
        if let Some(handover) = &mut driver.handover
            && let Some(present) = self.handover.take_if(|present| present.same_kind(handover))
        {
            *handover = present;
        }
        driver.predecessors = Some(predecessors);
        driver.begun()
    }

    fn begun(mut self) -> Self {
        let (state, actions) = Lifecycle::start(&mut self.restarts);
        self.state = state;
        self.act(actions);
        self
    }

    /// Creates the driver of a sidecar that its first use starts.
    pub(crate) fn idle(
        spec: Arc<Spec>,
        after: Vec<Dependency>,
        reports: ExitReports,
        recorder: Recorder,
    ) -> Self {
        Self::new(spec, after, reports, recorder, false)
    }

    fn new(
        spec: Arc<Spec>,
        after: Vec<Dependency>,
        reports: ExitReports,
        recorder: Recorder,
        in_use: bool,
    ) -> Self {
        // Only the program that started an attached server stops and restarts it.
        let policy = match spec.source {
            ServerSource::Run(_) => spec.restart,
            ServerSource::Attach(_) => Restart::Never,
        };
        let demand = spec.on_demand.then(|| Demand::new(spec.idle_stop.is_some(), in_use));
        let restarts = Restarts::new(policy, spec.restart_limit).with_demand(demand);
        let handover = match &spec.source {
            ServerSource::Run(program) if program.handover || program.transport == Transport::Local => {
                Some(Handover::new(program.transport))
            }
            ServerSource::Run(_) | ServerSource::Attach(_) => None,
        };
        Self {
            handover,
            previous_port: None,
            run: Run::none(&spec, recorder.clone()),
            spec,
            after,
            recorder,
            reports,
            state: Lifecycle::Idle(None),
            restarts,
            created: Instant::now(),
            outcome: StopOutcome::NotRunning,
            predecessors: None,
            leases: Vec::new(),
            launch_wait: None,
            dependency_restart: None,
            dependency_moves: None,
            launch: None,
            deadline: None,
            alarm: Alarm::default(),
            start_began: None,
            probe: None,
            liveness: None,
            watchdog: None,
            memory: None,
            unannounced: None,
            group_empty: None,
            http_stop: None,
            saving: None,
            reads_in_turn: 0,
            spans: Spans::default(),
        }
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(crate) fn after(&self) -> &[Dependency] {
        &self.after
    }

    pub(crate) fn state(&self) -> &Lifecycle {
        &self.state
    }

    /// The stop outcome of the last run.
    pub(crate) fn outcome(&self) -> StopOutcome {
        self.outcome
    }

    /// What a snapshot is made from, besides the state.
    pub(crate) fn inputs(&self) -> StatusInputs<'_> {
        StatusInputs {
            spec: &self.spec,
            run: self.run.number,
            pid: self.run.pid,
            started: self.run.pid.map(|_| self.run.started_at),
            version: self.run.version.as_deref(),
            token: self.run.token.as_ref(),
            diagnostics: &self.run.diagnostics,
            tail: &self.run.tail,
            restarts: self.restarts.streak(),
            waits_for: self.launch_wait.as_ref().and_then(LaunchWait::waits_for),
            connector: self.state.listen_addr().and_then(|addr| self.connector(addr)),
            kept_port: self.handover.as_ref().and_then(Handover::port),
            measured: self
                .run
                .process
                .as_ref()
                .map(|process| Measured { ordinal: self.run.ordinal, group: Arc::downgrade(&process.group) }),
        }
    }

    /// What `ready()` answers now.
    pub(crate) fn ready_answer(&self) -> ReadyAnswer {
        ReadyAnswer::of(&self.state, &self.inputs())
    }

    /// Waits for the next input. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Input {
        let Self { run, launch_wait, dependency_restart, dependency_moves, launch, deadline, .. } = self;
        let Self {
            alarm,
            probe,
            liveness,
            watchdog,
            memory,
            unannounced,
            group_empty,
            http_stop,
            saving,
            recorder,
            ..
        } = self;
        let progress_due = run.diagnostics.progress.due();
        let (group, output) = match &mut run.process {
            Some(OwnedProcess { group, output, exited, .. }) => {
                ((!*exited).then_some(&**group), Some(output))
            }
            None => (None, None),
        };
        // What is not there ends at once with `None`, which disables its branch; the alarm is always there. Each future is part of this one
        // and takes memory in it, once for each sidecar, unless it is in a box: that is done for what few sidecars have.
        tokio::select! {
            Some(exit) = async { Some(group?.wait_exit().await) } => Input::Exited(exit),
            Some(gone) = async { group_empty.as_mut()?.await; Some(Input::Gone) } => gone,
            Some(launched) = async { Some(launch.as_mut()?.await) } => Input::Launched(launched.map(Box::new)),
            Some(result) = async { Some((&mut probe.as_mut()?.1).await) } => Input::Probed(result),
            Some(result) = async { Some(liveness.as_mut()?.next().await) } => Input::Liveness(result),
            () = alarm.wait(*deadline) => Input::Expired,
            Some(due) = async { Box::pin(sleep_until(progress_due?)).await; Some(Input::Progress) } => due,
            Some(overdue) = async { Box::pin(watchdog.as_ref()?.overdue()).await; Some(Input::Overdue) } => overdue,
            Some(memory) = async { Some(memory.as_mut()?.next().await) } => Input::Memory(memory),
            Some(places) = async { Some(unannounced.as_mut()?.await) } => Input::Unannounced(places),
            Some(notified) = async { Some(Box::pin(run.notifications.as_mut()?.next()).await) } => Input::Notified(notified),
            Some(event) = async { Some(Box::pin(launch_wait.as_mut()?.next()).await) } => Input::Waited(event),
            Some(event) = async { Some(dependency_restart.as_mut()?.next().await) } => {
                Input::DependencyRestarted(event)
            }
            Some(moved) = async { Some(dependency_moves.as_mut()?.next().await) } => Input::DependencyMoved(moved),
            Some(result) = async { Some(http_stop.as_mut()?.await) } => Input::HttpStopAnswered(result),
            Some(saved) = async { saving.as_mut()?.await; Some(Input::Saved) } => saved,
            Some(read) = async { Some(read(recorder, output?).await) } => Input::Output(read),
        }
    }

    /// Translates the input into events for the state machine.
    pub(crate) async fn handle_input(&mut self, input: Input) {
        match input {
            Input::Output(read) => self.absorb_output(read).await,
            Input::Launched(launched) => self.launched(launched),
            Input::Probed(result) => self.probed(result),
            Input::Liveness(result) => self.on_liveness_result(result),
            Input::Exited(exit) => {
                self.read_rest().await;
                let stopping = matches!(self.state, Lifecycle::Ending(_));
                self.run.exited(exit, stopping);
                self.dispatch(Event::Exited(exit));
            }
            Input::Gone => {
                self.group_empty = None;
                self.read_rest().await;
                self.dispatch(Event::Gone);
            }
            Input::Expired => {
                // Whatever inherits a listener of this program has it open, without a word about what it does.
                if matches!(self.state, Lifecycle::Starting(_)) && self.handover.is_none() {
                    self.run.look_where_it_listens().await;
                }
                self.dispatch(Event::Expired);
            }
            Input::Notified(notified) => self.notified(notified),
            Input::Overdue => self.on_overdue(),
            Input::Memory(memory) => self.on_memory(memory),
            Input::Unannounced(places) => self.listens_unannounced(places),
            Input::Progress => self.run.diagnostics.progress.show(Instant::now()),
            Input::Waited(Some(event)) => self.dispatch(event),
            Input::Waited(None) => self.waits_for_another(),
            Input::DependencyRestarted(event) => {
                self.dependency_restart = None;
                self.dispatch(event);
            }
            Input::DependencyMoved(moved) => self.dependency_moved(moved),
            Input::HttpStopAnswered(result) => self.http_stop_answered(result),
            Input::Saved => self.saving = None,
        }
    }

    /// Passes the event to the state machine, and executes its actions.
    pub(crate) fn dispatch(&mut self, event: Event) {
        if matches!(event, Event::Stop(_) | Event::Healthy) {
            self.run.note_peak_memory();
        }
        let state = std::mem::replace(&mut self.state, Lifecycle::Idle(None));
        let timer = state.timer(&self.restarts);
        let ending = if let Lifecycle::Ending(ending) = &state { Some(ending.clone()) } else { None };
        let gone = event == Event::Gone;
        let (state, actions) = state.on(event, &mut self.restarts, self.created.elapsed());
        if let Some(ending) = ending
            && !matches!(state, Lifecycle::Ending(_))
        {
            self.outcome = match &state {
                Lifecycle::Down(ended) | Lifecycle::Idle(Some(ended)) => ended.outcome,
                _ if gone => ending.outcome(),
                // The launch that the stop had to wait for has failed.
                _ => StopOutcome::NotRunning,
            };
            self.report_end(ending, gone);
        }
        let next = state.timer(&self.restarts);
        if next != timer {
            self.start_began = (next == Some(Timer::Ready)).then(Instant::now);
            self.deadline = next.and_then(|timer| self.deadline(timer));
        }
        self.state = state;
        self.look_for_unannounced();
        self.act(actions);
    }

    /// The program was told another address of a dependency than the present one, and is not restarted with it.
    fn dependency_moved(&mut self, moved: DependencyMove) {
        let DependencyMove { name, placeholder, told, now } = moved;
        let text = format!(
            "{placeholder} was {told} when it started, and is now {now}, because {name} has started again: it still uses the old one; add \
             {name:?} to `restartWith`, so that both restart together, or keep the port of {name} by \"port\": \"assigned\", a number, \
             or \"handover\": true"
        );
        self.run.notice(NoticeKind::DependencyMoved(name), text);
    }
}

#[cfg(test)]
mod tests;
