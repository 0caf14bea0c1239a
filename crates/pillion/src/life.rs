//! One sidecar through all its runs: the state machine, and what it takes to do what that says.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc, time::Duration};

use pillion_protocol::{Place, health::HealthReport};
use tokio::{sync::broadcast, time::Instant};

use crate::{
    address::Address,
    events::SidecarEvent,
    gate::{Dependency, Gate},
    handover::Handover,
    output::{Output, Read},
    probe::{NotReady, Probe},
    pulse::{Beat, Pulse},
    run::{Oddity, Run},
    snapshot::{Facts, Readiness},
    spec::{Launch, Restart, Spec, Transport},
    state::{Action, Event, Restarts, State, Step, Timer},
    status::{Exit, StopOutcome},
};

/// How long a killed group has to be gone before it is given up.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// A future that goes on where it was when the loop comes back to it.
type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A sidecar and its processes, one after another.
pub(crate) struct Life {
    spec: Spec,
    after: Vec<Dependency>,
    events: broadcast::Sender<SidecarEvent>,
    state: State,
    restarts: Restarts,
    /// The origin of the times that the state machine is told.
    born: Instant,
    run: Run,
    /// What each run is handed, where that is wanted.
    handover: Option<Handover>,
    /// What it took to bring down the last run.
    outcome: StopOutcome,

    // What is waited for, each only in the states that want it.
    gate: Option<Gate>,
    deadline: Option<Instant>,
    probe: Option<(u32, Pending<Result<HealthReport, NotReady>>)>,
    pulse: Option<Pulse>,
    emptied: Option<Pending<()>>,
}

/// What a life waits for.
pub(crate) enum Happening {
    Output(Read),
    Probed(Result<HealthReport, NotReady>),
    Beat(Beat),
    Exited(Exit),
    Gone,
    Expired,
    Gate(Event),
}

impl Life {
    /// Begins it: the sidecar is started, as soon as what it depends on is ready.
    pub(crate) fn begin(spec: Spec, after: Vec<Dependency>, events: broadcast::Sender<SidecarEvent>) -> Self {
        // Nobody but its owner starts or stops an attached server.
        let policy = match spec.launch {
            Launch::Run(_) => spec.restart,
            Launch::Attach(_) => Restart::Never,
        };
        let mut restarts = Restarts::new(policy, spec.intensity);
        let (state, actions) = State::start(&mut restarts);
        let handover = match &spec.launch {
            Launch::Run(run) if run.handover || run.transport == Transport::Socket => {
                Some(Handover::new(run.transport))
            }
            Launch::Run(_) | Launch::Attach(_) => None,
        };
        let mut life = Self {
            handover,
            run: Run::none(&spec, events.clone()),
            spec,
            after,
            events,
            state,
            restarts,
            born: Instant::now(),
            outcome: StopOutcome::NotRunning,
            gate: None,
            deadline: None,
            probe: None,
            pulse: None,
            emptied: None,
        };
        life.act(actions);
        life
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(crate) fn after(&self) -> &[Dependency] {
        &self.after
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// What it took to bring down the last run.
    pub(crate) fn outcome(&self) -> StopOutcome {
        self.outcome
    }

    /// What is known beside the state.
    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            spec: &self.spec,
            pid: self.run.pid,
            version: self.run.version.as_deref(),
            token: self.run.token.as_ref(),
            evidence: &self.run.evidence,
            tail: &self.run.tail,
            restarts: self.restarts.streak(),
            address: self.state.place().and_then(|place| self.address(place)),
            kept: self.handover.as_ref().and_then(Handover::port),
        }
    }

    /// What there is to say to whoever waits for it to be ready.
    pub(crate) fn readiness(&self) -> Readiness {
        Readiness::of(&self.state, &self.facts())
    }

    /// Waits for what happens next. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Happening {
        let Self { run, gate, deadline, probe, pulse, emptied, .. } = self;
        let (group, output) = match &mut run.process {
            Some(process) => {
                ((!process.exited).then(|| Arc::clone(&process.group)), Some(&mut process.output))
            }
            None => (None, None),
        };
        tokio::select! {
            exit = settled(group.map(|group| async move { group.exited().await })) => Happening::Exited(exit),
            () = settled(emptied.as_mut()) => Happening::Gone,
            result = settled(probe.as_mut().map(|(_, attempt)| attempt)) => Happening::Probed(result),
            beat = settled(pulse.as_mut().map(Pulse::next)) => Happening::Beat(beat),
            () = settled(deadline.map(tokio::time::sleep_until)) => Happening::Expired,
            event = settled(gate.as_mut().map(Gate::next)) => Happening::Gate(event),
            read = settled(output.map(Output::read)) => Happening::Output(read),
        }
    }

    /// Deals with what happened.
    pub(crate) async fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Output(read) => {
                self.absorb(read);
                // Under a flood this task would go on reading for its whole budget, while the readers of its events wait
                // on the same worker and lose what they were woken for.
                tokio::task::yield_now().await;
            }
            Happening::Probed(result) => self.probed(result),
            Happening::Beat(beat) => self.beat(beat),
            Happening::Exited(exit) => {
                self.read_rest().await;
                self.run.exited();
                self.tell(Event::Exited(exit));
            }
            Happening::Gone => {
                self.emptied = None;
                self.read_rest().await;
                self.tell(Event::Gone);
            }
            Happening::Expired => self.tell(Event::Expired),
            Happening::Gate(event) => self.tell(event),
        }
    }

    /// Tells the state machine what happened, and does what it says.
    pub(crate) fn tell(&mut self, event: Event) {
        let state = std::mem::replace(&mut self.state, State::Waiting { blocked: None });
        let timer = state.timer();
        if let (State::Ending(ending), Event::Gone) = (&state, &event) {
            self.outcome = ending.outcome();
        }
        let (state, actions) = state.on(event, &mut self.restarts, self.born.elapsed());
        if state.timer() != timer {
            self.deadline = state.timer().and_then(|timer| self.deadline(timer));
        }
        self.state = state;
        self.act(actions);
    }

    /// A limit beyond what the clock can express is no limit.
    fn deadline(&self, timer: Timer) -> Option<Instant> {
        Instant::now().checked_add(match timer {
            Timer::Ready => self.spec.ready_timeout,
            Timer::Grace => self.spec.grace,
            Timer::Kill => KILL_TIMEOUT,
            Timer::BackOff(pause) => jitter(pause),
        })
    }

    fn act(&mut self, actions: Vec<Action>) {
        self.drop_what_the_state_does_not_want();
        let mut answers = VecDeque::new();
        for action in actions {
            match action {
                Action::Wait if self.after.is_empty() => answers.push_back(Event::Cleared),
                Action::Wait => self.gate = Some(Gate::new(self.after.clone())),
                Action::Launch => {
                    let listener = self.handover.as_mut().and_then(Handover::offer);
                    let (run, answer) = Run::launch(&self.spec, listener, self.events.clone());
                    self.run = run;
                    answers.push_back(answer);
                }
                Action::Probe(place) => self.probe(place, 0),
                Action::Ask => match &self.run.process {
                    Some(process) => process.group.ask(),
                    None => answers.push_back(Event::Gone),
                },
                Action::Kill => match &self.run.process {
                    Some(process) => process.group.kill(),
                    None => answers.push_back(Event::Gone),
                },
                Action::WatchGroup => {
                    if let Some(process) = &self.run.process {
                        let group = Arc::clone(&process.group);
                        self.emptied = Some(Box::pin(async move { group.emptied().await }));
                    }
                }
            }
        }
        for answer in answers {
            self.tell(answer);
        }
    }

    fn drop_what_the_state_does_not_want(&mut self) {
        match &self.state {
            State::Waiting { .. } => {}
            State::Starting(_) => self.gate = None,
            State::Ready { place } | State::Unhealthy { place } => {
                self.probe = None;
                if self.pulse.is_none() {
                    let probe = self.question(*place);
                    self.pulse =
                        probe.zip(self.spec.liveness).map(|(probe, liveness)| Pulse::new(probe, liveness));
                }
            }
            State::Ending(_) => (self.probe, self.pulse) = (None, None),
            State::BackingOff(_) | State::Down(_) => {
                if let (State::Down(_), Some(handover)) = (&self.state, &mut self.handover) {
                    handover.close();
                }
                (self.gate, self.probe, self.pulse, self.emptied) = (None, None, None, None);
                // Reaps the leader, and kills what might be left of its group.
                self.run.process = None;
            }
        }
    }

    fn absorb(&mut self, read: Read) {
        for place in self.run.absorb(read) {
            match (&self.state, self.state.place()) {
                (_, Some(first)) if place != first => self
                    .run
                    .notice(Oddity::AnnouncedTwice, format!("it announced {place} as well; {first} holds")),
                (State::Starting(_), None) if self.address(place).is_none() => self.run.misannounced(
                    "it announced the socket that it was handed, and it was handed none".to_owned(),
                ),
                (State::Starting(_), None) => {
                    self.hand_over(place);
                    self.tell(Event::Announced(place));
                }
                _ => {}
            }
        }
    }

    /// Sees from the announcement whether the listener was taken.
    fn hand_over(&mut self, announced: Place) {
        if let Some(handover) = &mut self.handover
            && !handover.announced(announced)
        {
            let lost = handover.lost();
            self.run.notice(
                Oddity::ListenerNotTaken,
                format!("it announced {announced} and did not take the listener that it was handed: {lost}"),
            );
        }
    }

    fn probed(&mut self, result: Result<HealthReport, NotReady>) {
        let Some((number, _)) = self.probe.take() else { return };
        match result {
            Ok(report) => {
                self.run.version = report.version;
                self.run.evidence.not_ready = None;
                self.tell(Event::Healthy);
            }
            Err(error) => {
                let hopeless = error == NotReady::Unproved;
                self.run.evidence.not_ready = Some(error);
                if let State::Starting(Step::Probing { place }) = self.state {
                    // Whoever serves there does not hold the token, and will not learn it: the time for a start is as good
                    // as over.
                    if hopeless { self.tell(Event::Expired) } else { self.probe(place, number + 1) }
                }
            }
        }
    }

    fn probe(&mut self, place: Place, number: u32) {
        let Some(probe) = self.question(place) else { return };
        self.probe = Some((number, Box::pin(async move { probe.attempt(number).await })));
    }

    /// `None` for a place that is not there, as which none is accepted.
    fn question(&self, place: Place) -> Option<Probe> {
        Some(Probe {
            address: self.address(place)?,
            path: self.spec.health_path.clone(),
            instance: self.run.instance,
            token: self.run.token.clone(),
        })
    }

    /// How to reach a place; `None` for a socket that nobody was handed.
    fn address(&self, place: Place) -> Option<Address> {
        match place {
            Place::Port(port) => Some(Address::Port(port)),
            Place::Socket => {
                let address = self.handover.as_ref()?.address()?.clone();
                #[cfg(windows)]
                let address = address.of(&self.run.process.as_ref()?.group);
                (address.place() == place).then_some(address)
            }
        }
    }

    fn beat(&mut self, beat: Beat) {
        let (event, not_ready) = match beat {
            Beat::Well => (Event::Healthy, None),
            Beat::Faint(why) => (Event::Unhealthy, why),
            Beat::None => (Event::Hung, self.run.evidence.not_ready.take()),
        };
        self.run.evidence.not_ready = not_ready;
        self.tell(event);
    }

    async fn read_rest(&mut self) {
        if let Some(process) = &mut self.run.process {
            for read in process.output.read_rest().await {
                self.absorb(read);
            }
        }
    }
}

/// Somewhere between half of the pause and all of it, so that what went down together does not come back together.
fn jitter(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without random bytes, the full pause is as good.
    let part = if getrandom::fill(&mut byte).is_ok() { u32::from(byte[0]) } else { 255 };
    pause / 2 + pause / 2 * part / 255
}

/// Waits for a future that may not be there; without one, for ever.
pub(crate) async fn settled<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
