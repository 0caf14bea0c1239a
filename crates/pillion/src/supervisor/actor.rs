//! The one task that owns a sidecar: it alone starts, signals and reaps its processes.
//!
//! It obeys the handles, lets the present life go on, and publishes what came of it. During a swap there are two lives:
//! the present one, and a candidate that takes its place once it is ready.

use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    report::events::SidecarEvent,
    report::snapshot::{self, ReadyAnswer, Snapshot},
    spec::Spec,
    state::{Event, Lifecycle},
    status::{Failure, FailureKind, StopOutcome},
    supervisor::dependencies::Dependency,
    supervisor::driver::{Driver, Input, settled},
};

/// What a handle asks of the task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Start, or stop and start again; answered as soon as that is under way.
    Restart(oneshot::Sender<()>),
    /// Start beside the present one, take over once that is ready; answered then, or when it has failed.
    Swap(Option<Box<Spec>>, oneshot::Sender<Result<(), Failure>>),
    /// Stop with grace; answered when nothing is left.
    Stop(oneshot::Sender<StopOutcome>),
    /// Stop at once; answered when nothing is left.
    Kill(oneshot::Sender<StopOutcome>),
    /// Start nothing any more.
    RefuseStarts,
    /// Stop with grace, and start nothing any more; answered when nothing is left.
    Close(oneshot::Sender<StopOutcome>),
}

pub(crate) struct Actor {
    commands: mpsc::UnboundedReceiver<Command>,
    /// Whether every handle is gone, so that nobody can ask for anything any more.
    abandoned: bool,
    /// Whether nothing is to be started any more.
    closed: bool,
    snapshot: watch::Sender<Snapshot>,
    events: broadcast::Sender<SidecarEvent>,
    restarts: Vec<oneshot::Sender<()>>,
    stops: Vec<oneshot::Sender<StopOutcome>>,
    present: Driver,
    candidate: Option<Candidate>,
    retiring: Retiring,
}

/// A life that is to take the present one's place.
struct Candidate {
    life: Driver,
    answer: oneshot::Sender<Result<(), Failure>>,
}

/// Lives that are over but for their processes.
#[derive(Default)]
struct Retiring {
    lives: JoinSet<()>,
    /// Whether to kill them.
    hurry: watch::Sender<bool>,
}

impl Actor {
    pub(crate) fn new(
        spec: Spec,
        after: Vec<Dependency>,
        commands: mpsc::UnboundedReceiver<Command>,
        snapshot: watch::Sender<Snapshot>,
        events: broadcast::Sender<SidecarEvent>,
    ) -> Self {
        Self {
            commands,
            abandoned: false,
            closed: false,
            snapshot,
            restarts: Vec::new(),
            stops: Vec::new(),
            present: Driver::begin(spec, after, events.clone()),
            events,
            candidate: None,
            retiring: Retiring::default(),
        }
    }

    /// Runs until the sidecar is down and cannot be asked for any more.
    pub(crate) async fn run(mut self) {
        self.reconcile();
        while !((self.abandoned || self.closed) && self.is_down()) {
            let Self { commands, abandoned, present, candidate, retiring, .. } = &mut self;
            tokio::select! {
                command = commands.recv(), if !*abandoned => self.handle_command(command),
                input = present.next() => present.handle_input(input).await,
                input = next(candidate) => {
                    if let Some(candidate) = candidate {
                        candidate.life.handle_input(input).await;
                    }
                }
                Some(_) = retiring.lives.join_next() => {}
            }
            self.reconcile();
        }
    }

    fn is_down(&self) -> bool {
        matches!(self.present.state(), Lifecycle::Down(_))
            && self.candidate.is_none()
            && self.retiring.lives.is_empty()
    }

    fn handle_command(&mut self, command: Option<Command>) {
        match command {
            // Refused by not being answered.
            Some(Command::Restart(_) | Command::Swap(..)) if self.closed => {}
            Some(Command::Restart(under_way)) => {
                self.dismiss_candidate("a restart was requested");
                self.present.dispatch(Event::Restart);
                self.restarts.push(under_way);
            }
            Some(Command::Swap(spec, answer)) => {
                self.dismiss_candidate("another swap was requested");
                let spec = spec.map_or_else(|| self.present.spec().clone(), |spec| *spec);
                let after = self.present.after().to_vec();
                // A candidate gets one chance; once it is taken, its own rules hold.
                let life = Driver::begin(spec, after, self.events.clone());
                self.candidate = Some(Candidate { life, answer });
            }
            Some(Command::Stop(answer)) => self.stop(Event::Stop, Some(answer)),
            Some(Command::Kill(answer)) => {
                self.retiring.hurry.send_replace(true);
                self.stop(Event::Kill, Some(answer));
            }
            Some(Command::RefuseStarts) => {
                self.closed = true;
                self.dismiss_candidate("the program is ending");
            }
            Some(Command::Close(answer)) => {
                self.closed = true;
                self.stop(Event::Stop, Some(answer));
            }
            None => {
                self.abandoned = true;
                self.stop(Event::Stop, None);
            }
        }
    }

    fn stop(&mut self, how: Event, answer: Option<oneshot::Sender<StopOutcome>>) {
        if self.is_down() {
            if let Some(answer) = answer {
                let _ = answer.send(StopOutcome::NotRunning);
            }
            return;
        }
        self.stops.extend(answer);
        self.dismiss_candidate("a stop was requested");
        self.present.dispatch(how);
    }

    /// Draws the conclusions from what has happened.
    fn reconcile(&mut self) {
        if self.closed && self.present.state().start_pending() {
            self.present.dispatch(Event::Stop);
        }
        self.reconcile_candidate();
        // Every answer comes after the status that it speaks of.
        self.publish();
        self.answer();
    }

    fn reconcile_candidate(&mut self) {
        let Some(candidate) = self.candidate.take() else { return };
        match candidate.life.ready_answer() {
            ReadyAnswer::Pending => self.candidate = Some(candidate),
            ReadyAnswer::Up(_) => {
                let Candidate { life, answer } = candidate;
                self.retiring.add(std::mem::replace(&mut self.present, life));
                self.publish();
                let _ = answer.send(Ok(()));
            }
            ReadyAnswer::Down(failure) => {
                self.retiring.add(candidate.life);
                let _ = candidate.answer.send(Err(failure));
            }
        }
    }

    fn dismiss_candidate(&mut self, why: &str) {
        let Some(Candidate { life, answer }) = self.candidate.take() else { return };
        let sidecar = life.spec().name.clone();
        let _ = answer.send(Err(Failure::new(
            FailureKind::Stopped,
            &*sidecar,
            format!("the swap of {sidecar} was cancelled: {why}"),
        )));
        self.retiring.add(life);
    }

    /// A restart is under way as soon as it was obeyed; a stop is over when nothing is left, or when a restart has
    /// overtaken it.
    fn answer(&mut self) {
        for under_way in self.restarts.drain(..) {
            let _ = under_way.send(());
        }
        let outcome = match self.present.state() {
            Lifecycle::Ending(_) => return,
            Lifecycle::Down(ended) => ended.outcome,
            Lifecycle::Waiting { .. }
            | Lifecycle::Starting(_)
            | Lifecycle::Ready { .. }
            | Lifecycle::Unhealthy { .. }
            | Lifecycle::BackingOff(_) => self.present.outcome(),
        };
        if self.retiring.lives.is_empty() {
            for answer in self.stops.drain(..) {
                let _ = answer.send(outcome);
            }
        }
    }

    fn publish(&mut self) {
        let (state, inputs) = (self.present.state(), self.present.inputs());
        let Some(snapshot) = self.snapshot.borrow().next(state, &inputs, snapshot::now_ms()) else { return };
        let status = &snapshot.status;
        tracing::debug!(sidecar = status.sidecar, state = ?status.state, pid = status.pid, "{:?}", status.reason);
        let told = SidecarEvent::Status(Box::new(status.clone()));
        // The snapshot first: whoever subscribes in between gets this status by one way or by both, and never by none.
        self.snapshot.send_replace(snapshot);
        // An error means that nobody listens.
        let _ = self.events.send(told);
    }
}

impl Retiring {
    fn add(&mut self, life: Driver) {
        if self.lives.is_empty() {
            self.hurry.send_replace(false);
        }
        self.lives.spawn(retire(life, self.hurry.subscribe()));
    }
}

/// Stops what is left of a life, with grace unless there is a hurry.
async fn retire(mut life: Driver, mut hurry: watch::Receiver<bool>) {
    life.dispatch(Event::Stop);
    let mut hurried = false;
    while !matches!(life.state(), Lifecycle::Down(_)) {
        tokio::select! {
            input = life.next() => life.handle_input(input).await,
            () = async { drop(hurry.wait_for(|hurry| *hurry).await) }, if !hurried => {
                hurried = true;
                life.dispatch(Event::Kill);
            }
        }
    }
}

async fn next(candidate: &mut Option<Candidate>) -> Input {
    settled(candidate.as_mut().map(|candidate| candidate.life.next())).await
}
