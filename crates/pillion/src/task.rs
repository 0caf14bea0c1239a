//! The one task that owns a sidecar: it alone starts, signals and reaps the process.
//!
//! One loop waits for whatever happens next, tells it to the state machine, and does what that says.

use std::{collections::VecDeque, future::Future, num::NonZeroU16, pin::Pin, sync::Arc, time::Duration};

use pillion_protocol::{Announcement, Instance, health::HealthReport};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    events::SidecarEvent,
    explain::Evidence,
    launch::launch,
    output::{Output, Read, Tail},
    probe::{NotReady, Probe},
    snapshot::{self, Facts, Snapshot},
    spec::{Launch, Spec},
    state::{Action, Event, State, Step, Timer},
    status::{Exit, StopOutcome},
    sys::Group,
};

/// How long a killed group has to be gone before it is given up.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// What a handle asks of the task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Start, or stop and start again; answered as soon as that is under way.
    Restart(oneshot::Sender<()>),
    /// Stop with grace; answered when nothing is left.
    Stop(oneshot::Sender<StopOutcome>),
    /// Stop at once; answered when nothing is left.
    Kill(oneshot::Sender<StopOutcome>),
    /// Stop with grace, and start nothing any more; answered when nothing is left.
    Close(oneshot::Sender<StopOutcome>),
}

/// A future that goes on where it was when the loop comes back to it.
type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The process of the present run.
struct Process {
    group: Arc<Group>,
    output: Output,
    /// Whether the leader's end was seen.
    exited: bool,
}

pub(crate) struct Task {
    spec: Spec,
    state: State,
    commands: mpsc::UnboundedReceiver<Command>,
    /// Whether every handle is gone, so that nobody can ask for anything any more.
    abandoned: bool,
    /// Whether nothing is to be started any more.
    closed: bool,
    snapshot: watch::Sender<Snapshot>,
    events: broadcast::Sender<SidecarEvent>,
    stops: Vec<oneshot::Sender<StopOutcome>>,

    process: Option<Process>,
    pid: Option<u32>,
    started: Instant,
    deadline: Option<Instant>,
    instance: Option<Instance>,
    probe: Option<(u32, Pending<Result<HealthReport, NotReady>>)>,
    emptied: Option<Pending<()>>,
    version: Option<String>,
    tail: Tail,
    evidence: Evidence,
    noticed: Vec<Oddity>,
}

/// What a sidecar does that its author should know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Oddity {
    AnnouncedTwice,
    Misannounced,
    Unguarded,
}

/// What the loop waits for.
enum Happening {
    Command(Option<Command>),
    Output(Read),
    Probed(Result<HealthReport, NotReady>),
    Exited(Exit),
    Gone,
    Expired,
}

impl Task {
    pub(crate) fn new(
        spec: Spec,
        commands: mpsc::UnboundedReceiver<Command>,
        snapshot: watch::Sender<Snapshot>,
        events: broadcast::Sender<SidecarEvent>,
    ) -> Self {
        Self {
            spec,
            state: State::Starting(Step::Launching),
            commands,
            abandoned: false,
            closed: false,
            snapshot,
            events,
            stops: Vec::new(),
            process: None,
            pid: None,
            started: Instant::now(),
            deadline: None,
            instance: None,
            probe: None,
            emptied: None,
            version: None,
            tail: Tail::default(),
            evidence: Evidence::default(),
            noticed: Vec::new(),
        }
    }

    /// Runs until the sidecar is down and cannot be asked for any more.
    pub(crate) async fn run(mut self) {
        let (state, actions) = State::start();
        self.enter(state, actions);
        while !((self.abandoned || self.closed) && matches!(self.state, State::Down(_))) {
            match self.next().await {
                Happening::Command(command) => self.obey(command),
                Happening::Output(read) => {
                    self.absorb(read);
                    // Under a flood this task would go on reading for its whole budget, while the readers of its events
                    // wait on the same worker and lose what they were woken for.
                    tokio::task::yield_now().await;
                }
                Happening::Probed(result) => self.probed(result),
                Happening::Exited(exit) => self.exited(exit).await,
                Happening::Gone => self.gone().await,
                Happening::Expired => self.tell(Event::Expired),
            }
        }
    }

    async fn next(&mut self) -> Happening {
        let Self { commands, abandoned, process, probe, emptied, deadline, .. } = self;
        let (group, output) = match process {
            Some(process) => {
                ((!process.exited).then(|| Arc::clone(&process.group)), Some(&mut process.output))
            }
            None => (None, None),
        };
        tokio::select! {
            command = commands.recv(), if !*abandoned => Happening::Command(command),
            exit = settled(group.map(|group| async move { group.exited().await })) => Happening::Exited(exit),
            () = settled(emptied.as_mut()) => Happening::Gone,
            result = settled(probe.as_mut().map(|(_, attempt)| attempt)) => Happening::Probed(result),
            () = settled(deadline.map(tokio::time::sleep_until)) => Happening::Expired,
            read = settled(output.map(Output::read)) => Happening::Output(read),
        }
    }

    fn obey(&mut self, command: Option<Command>) {
        match command {
            // Refused by not being answered.
            Some(Command::Restart(_)) if self.closed => {}
            Some(Command::Restart(under_way)) => {
                self.tell(Event::Restart);
                let _ = under_way.send(());
            }
            Some(Command::Stop(answer)) => self.stop(Event::Stop, answer),
            Some(Command::Kill(answer)) => self.stop(Event::Kill, answer),
            Some(Command::Close(answer)) => {
                self.closed = true;
                self.stop(Event::Stop, answer);
            }
            None => {
                self.abandoned = true;
                self.tell(Event::Stop);
            }
        }
    }

    fn stop(&mut self, how: Event, answer: oneshot::Sender<StopOutcome>) {
        if let State::Down(_) = self.state {
            let _ = answer.send(StopOutcome::NotRunning);
        } else {
            self.stops.push(answer);
            self.tell(how);
        }
    }

    fn absorb(&mut self, read: Read) {
        self.tail.push(&read.lines);
        if !read.lines.is_empty() {
            self.publish(SidecarEvent::Output(read.lines));
        }
        for announcement in read.announcements {
            match announcement {
                Announcement::Port(port) => self.announced(port),
                Announcement::Malformed(line) => self.misannounced(format!(
                    "it printed {line:?}, which is no announcement: a port is a number from 1 to 65535, and nothing else"
                )),
                Announcement::Unfinished(line) => {
                    self.misannounced(format!("it printed {line:?} without the newline that completes it"));
                }
            }
        }
    }

    fn announced(&mut self, port: NonZeroU16) {
        match self.state {
            State::Starting(Step::Probing { port: first }) | State::Ready { port: first }
                if port != first =>
            {
                self.notice(
                    Oddity::AnnouncedTwice,
                    format!("it announced port {port} as well; {first} holds"),
                );
            }
            State::Starting(_) | State::Ready { .. } | State::Ending(_) | State::Down(_) => {
                self.tell(Event::Announced(port));
            }
        }
    }

    fn misannounced(&mut self, note: String) {
        self.evidence.misannounced = Some(note.clone());
        self.notice(Oddity::Misannounced, note);
    }

    /// Reports an oddity, once a run: a sidecar that repeats it would flood whoever listens.
    fn notice(&mut self, oddity: Oddity, text: String) {
        if !self.noticed.contains(&oddity) {
            self.noticed.push(oddity);
            tracing::warn!(sidecar = self.spec.name, "{text}");
            self.publish(SidecarEvent::Notice(text));
        }
    }

    fn probed(&mut self, result: Result<HealthReport, NotReady>) {
        let Some((number, _)) = self.probe.take() else { return };
        match result {
            Ok(report) => {
                self.version = report.version;
                self.tell(Event::Healthy);
            }
            Err(error) => {
                self.evidence.not_ready = Some(error);
                if let State::Starting(Step::Probing { port }) = self.state {
                    self.probe(port, number + 1);
                }
            }
        }
    }

    fn probe(&mut self, port: NonZeroU16, number: u32) {
        let probe = Probe { port, path: self.spec.health_path.clone(), instance: self.instance };
        self.probe = Some((number, Box::pin(async move { probe.attempt(number).await })));
    }

    async fn exited(&mut self, exit: Exit) {
        self.evidence.lived = Some(self.started.elapsed());
        self.read_rest().await;
        if let Some(process) = &mut self.process {
            process.exited = true;
        }
        self.tell(Event::Exited(exit));
    }

    async fn gone(&mut self) {
        self.emptied = None;
        self.read_rest().await;
        self.tell(Event::Gone);
    }

    async fn read_rest(&mut self) {
        if let Some(process) = &mut self.process {
            for read in process.output.read_rest().await {
                self.absorb(read);
            }
        }
    }

    /// Tells the state machine what happened, and does what it says.
    fn tell(&mut self, event: Event) {
        let state = std::mem::replace(&mut self.state, State::Starting(Step::Launching));
        let timer = state.timer();
        let outcome = match (&state, &event) {
            (State::Ending(ending), Event::Gone) => Some(ending.outcome()),
            _ => None,
        };
        let (state, actions) = state.on(event);
        if let (Some(outcome), State::Starting(_)) = (outcome, &state) {
            self.answer_stops(outcome);
        }
        if state.timer() == timer {
            self.state = state;
            self.act(actions);
        } else {
            self.enter(state, actions);
        }
        self.publish_status();
    }

    /// Takes on a state that has another timer than the one before.
    fn enter(&mut self, state: State, actions: Vec<Action>) {
        let limit = state.timer().map(|timer| match timer {
            Timer::Ready => self.spec.ready_timeout,
            Timer::Grace => self.spec.grace,
            Timer::Kill => KILL_TIMEOUT,
        });
        // A limit beyond what the clock can express is no limit.
        self.deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        self.state = state;
        self.act(actions);
    }

    fn act(&mut self, actions: Vec<Action>) {
        if !matches!(self.state, State::Starting(_)) {
            self.probe = None;
        }
        if let State::Down(ended) = &self.state {
            let outcome = ended.outcome;
            // Reaps the leader, and kills what might be left of its group.
            (self.emptied, self.process) = (None, None);
            self.answer_stops(outcome);
        }
        let mut answers = VecDeque::new();
        for action in actions {
            match action {
                Action::Launch => answers.push_back(self.launch()),
                Action::Probe(port) => self.probe(port, 0),
                Action::Ask => match &self.process {
                    Some(process) => process.group.ask(),
                    None => answers.push_back(Event::Gone),
                },
                Action::Kill => match &self.process {
                    Some(process) => process.group.kill(),
                    None => answers.push_back(Event::Gone),
                },
                Action::WatchGroup => {
                    if let Some(process) = &self.process {
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

    fn launch(&mut self) -> Event {
        (self.process, self.pid, self.version) = (None, None, None);
        (self.tail, self.evidence) = (Tail::default(), Evidence::default());
        self.noticed.clear();
        self.started = Instant::now();
        let run = match &self.spec.launch {
            Launch::Attach(port) => return Event::Attached(*port),
            Launch::Run(run) => run,
        };
        match launch(run, self.spec.grace) {
            Ok((instance, spawned)) => {
                if let Some(why) = spawned.unguarded {
                    self.notice(
                        Oddity::Unguarded,
                        format!("no guard watches over it: {why}; if this program is killed, it may be left behind"),
                    );
                }
                self.instance = Some(instance);
                self.pid = Some(spawned.group.pid());
                self.process = Some(Process {
                    group: Arc::new(spawned.group),
                    output: Output::new(spawned.stdout, spawned.stderr),
                    exited: false,
                });
                Event::Launched
            }
            Err(why) => Event::NotLaunched(why),
        }
    }

    fn answer_stops(&mut self, outcome: StopOutcome) {
        for answer in self.stops.drain(..) {
            let _ = answer.send(outcome);
        }
    }

    fn publish_status(&mut self) {
        let now = snapshot::now_ms();
        let facts = Facts {
            spec: &self.spec,
            pid: self.pid,
            version: self.version.as_deref(),
            evidence: &self.evidence,
            tail: &self.tail,
        };
        let Some(snapshot) = self.snapshot.borrow().next(&self.state, &facts, now) else { return };
        let status = &snapshot.status;
        tracing::debug!(sidecar = self.spec.name, state = ?status.state, pid = status.pid, "{:?}", status.reason);
        let told = SidecarEvent::Status(Box::new(status.clone()));
        // The snapshot first: whoever subscribes in between gets this status by one way or by both, and never by none.
        self.snapshot.send_replace(snapshot);
        self.publish(told);
    }

    fn publish(&self, event: SidecarEvent) {
        // An error means that nobody listens.
        let _ = self.events.send(event);
    }
}

/// Waits for a future that may not be there; without one, for ever.
async fn settled<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
