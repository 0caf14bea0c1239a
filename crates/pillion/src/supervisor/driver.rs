//! The driver: runs the state machine of one sidecar through all its runs, and executes the actions.

mod address;
mod notify;

use std::{collections::VecDeque, future::Future, io, num::NonZeroU16, pin::Pin, sync::Arc, time::Duration};

use pillion_protocol::{ListenAddr, health::HealthReport};
use tokio::{sync::broadcast, time::Instant};

use crate::{
    health::liveness::{LivenessMonitor, LivenessResult},
    health::probe::NotReady,
    health::watchdog::Watchdog,
    output::{Output, Read},
    report::events::SidecarEvent,
    report::snapshot::{ReadyAnswer, StatusInputs},
    spec::{Program, Restart, ServerSource, Spec, StopRequest, Transport},
    state::{Action, Demand, Event, Lifecycle, Restarts, Timer},
    status::{Exit, StopOutcome},
    supervisor::dependencies::{
        Dependency, DependencyMove, DependencyMoves, DependencyRestart, DependencyWait,
    },
    supervisor::lease::Lease,
    supervisor::prepared_http_stop::PreparedHttpStop,
    supervisor::run::{NoticeKind, Run},
    sys::on_thread,
    transport::handover::Handover,
    transport::{notification::Notified, notify_socket::Notifications},
};

/// How long a killed group may take to be gone before the supervisor sweeps it.
pub(crate) const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the sweep of a killed group may take before the supervisor abandons the group.
pub(crate) const SWEEP_TIMEOUT: Duration = Duration::from_secs(10);

/// A future that keeps its progress between two calls of [`Driver::next`].
type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The state machine of a sidecar, and its present run.
pub(crate) struct Driver {
    spec: Spec,
    after: Vec<Dependency>,
    events: broadcast::Sender<SidecarEvent>,
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
    /// The uses of dependencies that run on demand, while this sidecar is not down.
    leases: Vec<Lease>,

    // What `next` waits for. Each is set only in the states that need it.
    dependency_wait: Option<DependencyWait>,
    dependency_restart: Option<DependencyRestart>,
    dependency_moves: Option<DependencyMoves>,
    launch: Option<Pending<Option<(Run, Event)>>>,
    deadline: Option<Instant>,
    /// When the timer of the start began.
    start_began: Option<Instant>,
    probe: Option<(u32, Pending<Result<HealthReport, NotReady>>)>,
    liveness: Option<LivenessMonitor>,
    watchdog: Option<Watchdog>,
    group_empty: Option<Pending<()>>,
    http_stop: Option<Pending<io::Result<()>>>,
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
    Dependency(Event),
    DependencyRestarted(Event),
    DependencyMoved(DependencyMove),
    HttpStopAnswered(io::Result<()>),
}

impl Driver {
    /// Creates the driver. It starts the sidecar as soon as the dependencies are ready.
    pub(crate) fn begin(spec: Spec, after: Vec<Dependency>, events: broadcast::Sender<SidecarEvent>) -> Self {
        // In use until the actor says otherwise: a candidate must not become idle.
        let mut driver = Self::new(spec, after, events, true);
        let (state, actions) = Lifecycle::start(&mut driver.restarts);
        driver.state = state;
        driver.act(actions);
        driver
    }

    /// Creates the driver of a sidecar that its first use starts.
    pub(crate) fn idle(spec: Spec, after: Vec<Dependency>, events: broadcast::Sender<SidecarEvent>) -> Self {
        Self::new(spec, after, events, false)
    }

    fn new(
        spec: Spec,
        after: Vec<Dependency>,
        events: broadcast::Sender<SidecarEvent>,
        in_use: bool,
    ) -> Self {
        // An attached server belongs to another program, which alone starts and stops it.
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
            run: Run::none(&spec, events.clone()),
            spec,
            after,
            events,
            state: Lifecycle::Idle(None),
            restarts,
            created: Instant::now(),
            outcome: StopOutcome::NotRunning,
            leases: Vec::new(),
            dependency_wait: None,
            dependency_restart: None,
            dependency_moves: None,
            launch: None,
            deadline: None,
            start_began: None,
            probe: None,
            liveness: None,
            watchdog: None,
            group_empty: None,
            http_stop: None,
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
            version: self.run.version.as_deref(),
            token: self.run.token.as_ref(),
            diagnostics: &self.run.diagnostics,
            tail: &self.run.tail,
            restarts: self.restarts.streak(),
            connector: self.state.listen_addr().and_then(|addr| self.connector(addr)),
            kept_port: self.handover.as_ref().and_then(Handover::port),
        }
    }

    /// What `ready()` answers now.
    pub(crate) fn ready_answer(&self) -> ReadyAnswer {
        ReadyAnswer::of(&self.state, &self.inputs())
    }

    /// Waits for the next input. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Input {
        let Self { run, dependency_wait, dependency_restart, dependency_moves, launch, deadline, .. } = self;
        let Self { probe, liveness, watchdog, group_empty, http_stop, .. } = self;
        let progress_due = run.diagnostics.progress.due().map(tokio::time::sleep_until);
        let (group, output) = match &mut run.process {
            Some(process) => {
                ((!process.exited).then(|| Arc::clone(&process.group)), Some(&mut process.output))
            }
            None => (None, None),
        };
        tokio::select! {
            exit = settled(group.map(|group| async move { group.wait_exit().await })) => Input::Exited(exit),
            () = settled(group_empty.as_mut()) => Input::Gone,
            launched = settled(launch.as_mut()) => Input::Launched(launched.map(Box::new)),
            result = settled(probe.as_mut().map(|(_, attempt)| attempt)) => Input::Probed(result),
            result = settled(liveness.as_mut().map(LivenessMonitor::next)) => Input::Liveness(result),
            () = settled(deadline.map(tokio::time::sleep_until)) => Input::Expired,
            () = settled(progress_due) => Input::Progress,
            () = settled(watchdog.as_ref().map(Watchdog::overdue)) => Input::Overdue,
            notified = settled(run.notifications.as_mut().map(Notifications::next)) => Input::Notified(notified),
            event = settled(dependency_wait.as_mut().map(DependencyWait::next)) => Input::Dependency(event),
            event = settled(dependency_restart.as_mut().map(DependencyRestart::next)) => {
                Input::DependencyRestarted(event)
            }
            moved = settled(dependency_moves.as_mut().map(DependencyMoves::next)) => Input::DependencyMoved(moved),
            result = settled(http_stop.as_mut()) => Input::HttpStopAnswered(result),
            read = settled(output.map(Output::read)) => Input::Output(read),
        }
    }

    /// Translates the input into events for the state machine.
    pub(crate) async fn handle_input(&mut self, input: Input) {
        match input {
            Input::Output(read) => {
                self.absorb(read);
                // Under a flood of output this task would use up its whole budget. Its readers wait on the same worker and
                // would lose events.
                tokio::task::yield_now().await;
            }
            Input::Launched(launched) => {
                self.launch = None;
                let event = match launched {
                    Some(launched) => {
                        let (run, event) = *launched;
                        self.run = run;
                        if let Some(port) = self.run.diagnostics.given_port {
                            self.previous_port = Some(port);
                            self.check_port_callable(ListenAddr::Tcp(port));
                        }
                        event
                    }
                    None => Event::NotLaunched("the system allows no further thread".to_owned()),
                };
                self.dispatch(event);
            }
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
            Input::Expired => self.dispatch(Event::Expired),
            Input::Notified(notified) => self.notified(notified),
            Input::Overdue => self.on_overdue(),
            Input::Progress => self.run.diagnostics.progress.show(Instant::now()),
            Input::Dependency(event) => self.dispatch(event),
            Input::DependencyRestarted(event) => {
                self.dependency_restart = None;
                self.dispatch(event);
            }
            Input::DependencyMoved(moved) => self.dependency_moved(moved),
            Input::HttpStopAnswered(result) => self.http_stop_answered(result),
        }
    }

    /// Passes the event to the state machine, and executes its actions.
    pub(crate) fn dispatch(&mut self, event: Event) {
        let state = std::mem::replace(&mut self.state, Lifecycle::Idle(None));
        let timer = state.timer(&self.restarts);
        if let (Lifecycle::Ending(ending), Event::Gone) = (&state, &event) {
            self.outcome = ending.outcome();
        }
        let (state, actions) = state.on(event, &mut self.restarts, self.created.elapsed());
        let next = state.timer(&self.restarts);
        if next != timer {
            self.start_began = (next == Some(Timer::Ready)).then(Instant::now);
            self.deadline = next.and_then(|timer| self.deadline(timer));
        }
        self.state = state;
        self.act(actions);
    }

    fn inherits_login_shell(&self) -> bool {
        matches!(&self.spec.source, ServerSource::Run(program) if program.login_shell_env)
    }

    /// When this timer ends; `None` if that is later than the clock can express.
    fn deadline(&self, timer: Timer) -> Option<Instant> {
        Instant::now().checked_add(match timer {
            Timer::Ready => self.spec.ready_timeout,
            Timer::LeaderGrace { asked_at } => {
                return self.created.checked_add(asked_at.checked_add(self.spec.grace / 2)?);
            }
            Timer::Grace { asked_at } => {
                return self.created.checked_add(asked_at.checked_add(self.spec.grace)?);
            }
            Timer::Idle { since } => {
                return self.created.checked_add(since.checked_add(self.spec.idle_stop?)?);
            }
            Timer::Kill => KILL_TIMEOUT,
            Timer::Sweep => SWEEP_TIMEOUT,
            Timer::BackOff(pause) => jitter(pause),
        })
    }

    /// Lets the start take longer, within the declared maximum.
    fn extend_start(&mut self, by: Option<Duration>) {
        let (Some(max), Some(deadline), Some(began)) =
            (self.spec.ready_timeout_max, self.deadline, self.start_began)
        else {
            return;
        };
        let wanted = began.elapsed().saturating_add(by.unwrap_or(self.spec.ready_timeout)).min(max);
        // A time that the clock cannot express is later than any deadline.
        let extended = began.checked_add(wanted);
        if extended.is_none_or(|extended| extended > deadline) {
            self.deadline = extended;
            self.run.diagnostics.time_limit = Some(wanted);
        }
    }

    fn act(&mut self, actions: Vec<Action>) {
        self.on_state_entered();
        let mut answers = VecDeque::new();
        for action in actions {
            match action {
                Action::Wait if self.after.is_empty() && !self.inherits_login_shell() => {
                    answers.push_back(Event::DependenciesReady);
                }
                Action::Wait => {
                    let uses = self.after.iter().filter_map(Dependency::begin_use);
                    // The new leases are there before the old ones end.
                    let (leases, uncounted) = uses.unzip();
                    self.leases = leases;
                    let login_shell = self.inherits_login_shell();
                    self.dependency_wait =
                        Some(DependencyWait::new(self.after.clone(), uncounted, login_shell));
                }
                Action::Launch => {
                    let listener = self.handover.as_mut().and_then(Handover::offer);
                    let (spec, events) = (self.spec.clone(), self.events.clone());
                    self.run = Run::none(&spec, events.clone());
                    // Blocks until the guard has started the program, which a slow file system can delay.
                    let previous_port = self.previous_port;
                    // Before their addresses are read, so that no restart in between is missed.
                    self.dependency_restart = DependencyRestart::of(&self.after);
                    if let ServerSource::Run(program) = &spec.source {
                        self.dependency_moves = DependencyMoves::of(&self.after, program, &spec.ready_check);
                    }
                    let dependencies = self.after.iter().map(Dependency::address).collect();
                    let launch = move || Run::launch(&spec, listener, previous_port, dependencies, events);
                    self.launch = Some(Box::pin(on_thread(launch)));
                }
                Action::Check(addr) => self.check(addr, 0),
                Action::Extend(by) => self.extend_start(by),
                Action::TerminateLeader => match (&self.run.process, self.run.http_stop.take()) {
                    (Some(_), Some(http)) => {
                        self.http_stop = Some(Box::pin(async move { http.send().await }));
                    }
                    (Some(process), None) => process.group.terminate_leader(),
                    (None, _) => answers.extend(self.gone()),
                },
                Action::TerminateGroup => match &self.run.process {
                    Some(process) => process.group.terminate_group(),
                    None => answers.extend(self.gone()),
                },
                Action::Kill => match &self.run.process {
                    Some(process) => process.group.kill(),
                    None => answers.extend(self.gone()),
                },
                Action::Sweep => {
                    if let Some(process) = &self.run.process {
                        process.group.sweep();
                    }
                }
                Action::WatchGroup => {
                    if let Some(process) = &self.run.process {
                        let group = Arc::clone(&process.group);
                        self.group_empty = Some(Box::pin(async move { group.wait_empty().await }));
                    }
                }
            }
        }
        for answer in answers {
            self.dispatch(answer);
        }
    }

    /// What to answer if no process exists. A launch under way answers later, and the stop then applies to its process.
    fn gone(&self) -> Option<Event> {
        self.launch.is_none().then_some(Event::Gone)
    }

    fn on_state_entered(&mut self) {
        if let Lifecycle::Ready { addr: Some(addr) } = self.state {
            self.prepare_http_stop(addr);
        }
        match &self.state {
            Lifecycle::Waiting { .. } => {}
            Lifecycle::Starting(_) => {
                (self.dependency_wait, self.liveness, self.watchdog) = (None, None, None);
            }
            Lifecycle::Ready { addr } | Lifecycle::Unhealthy { addr } => {
                self.probe = None;
                if self.liveness.is_none() {
                    let probe = addr.and_then(|addr| self.probe_of(addr));
                    self.liveness = probe
                        .zip(self.spec.liveness)
                        .map(|(probe, liveness)| LivenessMonitor::new(probe, liveness));
                }
                if self.watchdog.is_none() {
                    self.watch_messages();
                }
            }
            Lifecycle::Ending(_) => {
                (self.dependency_restart, self.dependency_moves, self.probe) = (None, None, None);
                (self.liveness, self.watchdog) = (None, None);
            }
            Lifecycle::BackingOff(_) | Lifecycle::Idle(_) | Lifecycle::Down(_) => {
                if matches!(self.state, Lifecycle::Idle(_) | Lifecycle::Down(_)) {
                    if let Some(handover) = &mut self.handover {
                        handover.close();
                    }
                    // Another sidecar of this process may have it.
                    self.run.port = None;
                    self.leases.clear();
                }
                (self.dependency_wait, self.dependency_restart, self.dependency_moves) = (None, None, None);
                (self.probe, self.liveness, self.watchdog) = (None, None, None);
                // The process of a launch that is abandoned is killed when it starts.
                (self.launch, self.group_empty, self.http_stop) = (None, None, None);
                self.run.notifications = None;
                // Reaps the leader, and kills what might be left of its group.
                self.run.process = None;
            }
        }
    }

    /// Prepares the declared HTTP request, once a run.
    fn prepare_http_stop(&mut self, addr: ListenAddr) {
        let ServerSource::Run(Program { stop: StopRequest { http: Some(http), .. }, .. }) = &self.spec.source
        else {
            return;
        };
        if self.run.http_stop.is_some() {
            return;
        }
        let prepare = || PreparedHttpStop::new(http, &self.connector(addr)?, self.run.token.as_ref());
        // One request for the guard, and another one for us: a challenge is used once.
        if let (Some(process), Some(request)) =
            (&self.run.process, prepare().and_then(|stop| stop.for_guard()))
        {
            process.group.set_http_stop(&request);
        }
        self.run.http_stop = prepare();
    }

    fn http_stop_answered(&mut self, result: io::Result<()>) {
        self.http_stop = None;
        let Some(process) = &self.run.process else { return };
        match result {
            Ok(()) => process.group.http_stop_sent(),
            Err(error) => {
                tracing::warn!(sidecar = self.spec.name, %error, "the stop request by HTTP failed; the sidecar is signalled");
                process.group.terminate_leader();
            }
        }
    }

    /// The program was told another address of a dependency than the present one, and is not restarted with it.
    fn dependency_moved(&mut self, moved: DependencyMove) {
        let DependencyMove { name, placeholder, told, now } = moved;
        let text = format!(
            "{placeholder} was {told} when it started, and is {now} now, because {name} has started again: it goes on with the old one; add \
             {name:?} to `restartWith`, so that it is restarted with it, or keep the port of {name} by \"port\": \"assigned\", a number, \
             or \"handover\": true"
        );
        self.run.notice(NoticeKind::DependencyMoved(name), text);
    }

    async fn read_rest(&mut self) {
        if let Some(process) = &mut self.run.process {
            for read in process.output.read_rest().await {
                self.absorb(read);
            }
        }
    }
}

/// A random duration between half of the pause and all of it, so that sidecars that crashed together do not restart together.
fn jitter(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without random bytes use the full pause.
    let part = if getrandom::fill(&mut byte).is_ok() { u32::from(byte[0]) } else { 255 };
    pause / 2 + pause / 2 * part / 255
}

/// Waits for the future; without one, waits for ever.
pub(crate) async fn settled<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
