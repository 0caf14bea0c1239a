//! The actor: the one task that owns a sidecar. Only the actor starts, signals and reaps its processes.
//!
//! It handles the commands of the handles, runs the present driver, and publishes snapshots and events. During a swap it runs a
//! second driver, the candidate, which replaces the present one once it is ready.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    report::events::SidecarEvent,
    report::snapshot::{ReadyAnswer, Snapshot},
    report::{exit_reports::ExitReports, history::Recorder},
    spec::Spec,
    state::{Event, Lifecycle, Requester},
    status::{Failure, FailureKind, StopOutcome},
    supervisor::command::Command,
    supervisor::dependencies::Dependency,
    supervisor::driver::{Driver, Input},
    task::task,
    wall_clock::now_ms,
};

pub(crate) struct Actor {
    commands: mpsc::UnboundedReceiver<Command>,
    /// Whether every handle is dropped, so that no more commands come.
    abandoned: bool,
    /// Whether starts are refused.
    closed: bool,
    snapshot: watch::Sender<Snapshot>,
    recorder: Recorder,
    reports: ExitReports,
    /// The number of uses that have begun and not ended, for a sidecar on demand.
    uses: usize,
    /// The requests that the actor answers as soon as it has published the status: restarts under way, counted uses.
    acknowledgements: Vec<oneshot::Sender<()>>,
    stops: Vec<oneshot::Sender<StopOutcome>>,
    present: Driver,
    candidate: Option<Box<Candidate>>,
    retiring: Retiring,
}

/// A driver that replaces the present one once it is ready.
struct Candidate {
    driver: Driver,
    answer: oneshot::Sender<Result<(), Failure>>,
}

/// Replaced or cancelled drivers whose processes are being stopped.
#[derive(Default)]
struct Retiring {
    drivers: JoinSet<()>,
    /// Whether to kill their processes at once. Each driver has a receiver, as long as it has processes. Most sidecars are never swapped:
    /// it is there from the first swap on.
    kill: Option<watch::Sender<bool>>,
}

impl Actor {
    pub(crate) fn new(
        spec: Arc<Spec>,
        after: Vec<Dependency>,
        commands: mpsc::UnboundedReceiver<Command>,
        snapshot: watch::Sender<Snapshot>,
        reports: ExitReports,
        recorder: Recorder,
    ) -> Box<Self> {
        // On the heap, because a future would have it twice: as its argument, and as its variable.
        Box::new(Self {
            commands,
            abandoned: false,
            closed: false,
            snapshot,
            uses: 0,
            acknowledgements: Vec::new(),
            stops: Vec::new(),
            present: if spec.on_demand {
                Driver::idle(spec, after, reports.clone(), recorder.clone())
            } else {
                Driver::begin(spec, after, reports.clone(), recorder.clone())
            },
            recorder,
            reports,
            candidate: None,
            retiring: Retiring::default(),
        })
    }

    /// Runs until the sidecar is down and no command can start it again.
    pub(crate) async fn run(mut self: Box<Self>) {
        self.reconcile();
        while !((self.abandoned || self.closed) && self.is_down()) {
            let Self { commands, abandoned, present, candidate, retiring, .. } = &mut *self;
            tokio::select! {
                command = commands.recv(), if !*abandoned => self.handle_command(command),
                input = present.next() => present.handle_input(input).await,
                input = next(candidate) => {
                    if let Some(candidate) = candidate {
                        Box::pin(candidate.driver.handle_input(input)).await;
                    }
                }
                Some(_) = retiring.drivers.join_next() => {}
            }
            self.reconcile();
        }
    }

    fn is_down(&self) -> bool {
        matches!(self.present.state(), Lifecycle::Down(_))
            && !self.present.is_saving()
            && self.candidate.is_none()
            && self.retiring.drivers.is_empty()
    }

    fn handle_command(&mut self, command: Option<Command>) {
        match command {
            // Dropping the answer refuses the request.
            Some(Command::Restart(_) | Command::RestartTo(..) | Command::Swap(..) | Command::BeginUse(_))
                if self.closed => {}
            Some(Command::BeginUse(counted)) => {
                self.uses += 1;
                self.present.dispatch(Event::Used);
                self.acknowledgements.push(counted);
            }
            Some(Command::EndUse) => {
                self.uses = self.uses.saturating_sub(1);
                if self.uses == 0 {
                    self.present.dispatch(Event::Unused);
                }
            }
            Some(Command::Restart(under_way)) => {
                self.dismiss_candidate("a restart was requested");
                self.present.dispatch(Event::Restart);
                self.acknowledgements.push(under_way);
            }
            Some(Command::RestartTo(spec, under_way)) => {
                self.dismiss_candidate("a restart was requested");
                self.succeed(*spec);
                self.acknowledgements.push(under_way);
            }
            Some(Command::Swap(spec, answer)) => {
                self.dismiss_candidate("another swap was requested");
                let spec = spec.map_or_else(|| Spec::clone(self.present.spec()), |spec| *spec);
                let spec = self.fixed(spec);
                let after = self.present.after().to_vec();
                // Until the switch a candidate is not restarted; afterwards its own restart policy applies.
                let driver =
                    Driver::begin(Arc::new(spec), after, self.reports.clone(), self.recorder.clone());
                self.candidate = Some(Box::new(Candidate { driver, answer }));
            }
            Some(Command::Stop(by, answer)) => self.stop(Event::Stop(by), Some(answer)),
            Some(Command::Kill(answer)) => {
                self.retiring.kill();
                self.stop(Event::Kill, Some(answer));
            }
            Some(Command::RefuseStarts) => {
                self.closed = true;
                self.dismiss_candidate("the program is ending");
            }
            Some(Command::Close(answer)) => {
                self.closed = true;
                self.stop(Event::Stop(Requester::AppEnd), Some(answer));
            }
            None => {
                self.abandoned = true;
                self.stop(Event::Stop(Requester::AppEnd), None);
            }
        }
    }

    /// The specification with what cannot change: the handles know whether it runs on demand, and do not learn of a change.
    fn fixed(&self, mut spec: Spec) -> Spec {
        let present = self.present.spec();
        (spec.on_demand, spec.idle_stop) = (present.on_demand, present.idle_stop);
        spec
    }

    /// Stops the present driver, and lets one with this specification take its place, which waits until no process is left.
    fn succeed(&mut self, spec: Spec) {
        let spec = Arc::new(self.fixed(spec));
        let driver = self.present.successor(spec, self.retiring.kill.get_or_insert_default().clone());
        self.retiring.add(std::mem::replace(&mut self.present, driver), Requester::Restart);
        if self.uses == 0 {
            self.present.dispatch(Event::Unused);
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

    /// Applies the consequences of the last input: cancels refused starts, switches to a ready candidate, publishes, answers.
    fn reconcile(&mut self) {
        let state = self.present.state();
        if self.closed && (state.start_pending() || matches!(state, Lifecycle::Idle(_))) {
            self.present.dispatch(Event::Stop(Requester::AppEnd));
        }
        self.reconcile_candidate();
        // Answers come after the status that they are about.
        self.publish();
        self.answer();
    }

    fn reconcile_candidate(&mut self) {
        let Some(candidate) = self.candidate.take() else { return };
        match candidate.driver.ready_answer() {
            // A candidate is in use, and so it is not idle.
            ReadyAnswer::Pending | ReadyAnswer::Idle => self.candidate = Some(candidate),
            ReadyAnswer::Up(_) => {
                let Candidate { driver, answer } = *candidate;
                self.retiring.add(std::mem::replace(&mut self.present, driver), Requester::Swap);
                if self.uses == 0 {
                    self.present.dispatch(Event::Unused);
                }
                self.publish();
                let _ = answer.send(Ok(()));
            }
            ReadyAnswer::Down(failure) => {
                let Candidate { driver, answer } = *candidate;
                self.retiring.add(driver, Requester::CancelledSwap);
                let _ = answer.send(Err(failure));
            }
        }
    }

    fn dismiss_candidate(&mut self, why: &str) {
        let Some(candidate) = self.candidate.take() else { return };
        let Candidate { driver, answer } = *candidate;
        let sidecar = driver.spec().name.clone();
        let _ = answer.send(Err(Failure::new(
            FailureKind::Stopped,
            &*sidecar,
            format!("the swap of {sidecar} was cancelled: {why}"),
        )));
        self.retiring.add(driver, Requester::CancelledSwap);
    }

    /// Answers restarts and uses at once, and stops when no process is left or when a restart has superseded the stop.
    fn answer(&mut self) {
        for acknowledgement in self.acknowledgements.drain(..) {
            let _ = acknowledgement.send(());
        }
        let outcome = match self.present.state() {
            Lifecycle::Ending(_) => return,
            Lifecycle::Down(ended) => ended.outcome,
            Lifecycle::Waiting { .. }
            | Lifecycle::Starting(_)
            | Lifecycle::Ready { .. }
            | Lifecycle::Unhealthy { .. }
            | Lifecycle::BackingOff(_)
            | Lifecycle::Idle(_) => self.present.outcome(),
        };
        if self.retiring.drivers.is_empty() && !self.present.is_saving() {
            for answer in self.stops.drain(..) {
                let _ = answer.send(outcome);
            }
        }
    }

    fn publish(&mut self) {
        let (state, inputs) = (self.present.state(), self.present.inputs());
        let Some(snapshot) = self.snapshot.borrow().next(state, &inputs, now_ms()) else { return };
        let status = &snapshot.status;
        tracing::debug!(sidecar = status.sidecar, state = ?status.state, pid = status.pid, "{:?}", status.reason);
        let event = SidecarEvent::Status(Box::new(status.clone()));
        // The snapshot first, so that a reader that subscribes between the two calls cannot miss this status.
        self.snapshot.send_replace(snapshot);
        self.recorder.publish(event);
    }
}

impl Retiring {
    fn add(&mut self, driver: Driver, why: Requester) {
        let kill = self.kill.get_or_insert_default();
        if self.drivers.is_empty() {
            kill.send_replace(false);
        }
        self.drivers.spawn(task(retire(driver, why, kill.subscribe())));
    }

    /// Kills their processes at once.
    fn kill(&self) {
        if let Some(kill) = &self.kill {
            kill.send_replace(true);
        }
    }
}

/// Stops the processes of a driver with grace, or kills them once that is requested.
async fn retire(mut driver: Driver, why: Requester, mut kill: watch::Receiver<bool>) {
    driver.dispatch(Event::Stop(why));
    let mut kill_requested = false;
    while !matches!(driver.state(), Lifecycle::Down(_)) || driver.is_saving() {
        tokio::select! {
            input = driver.next() => driver.handle_input(input).await,
            () = async { drop(kill.wait_for(|kill| *kill).await) }, if !kill_requested => {
                kill_requested = true;
                driver.dispatch(Event::Kill);
            }
        }
    }
}

/// Waits for the next input of a candidate. There is none most of the time: it takes memory only then.
async fn next(candidate: &mut Option<Box<Candidate>>) -> Input {
    match candidate {
        Some(candidate) => Box::pin(candidate.driver.next()).await,
        None => std::future::pending().await,
    }
}

// Elsewhere, the parts of the system have other sizes.
#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use super::*;

    #[test]
    fn the_task_of_a_sidecar_takes_little_memory() {
        fn size_of_future<F>(_: fn(Box<Actor>) -> F) -> usize {
            size_of::<F>()
        }
        // A program may supervise a thousand. What a candidate needs is not there without one.
        assert!(size_of_future(Actor::run) < 3 * 1024, "{}", size_of_future(Actor::run));
        assert!(size_of::<Actor>() < 3 * 1024 + 256, "{}", size_of::<Actor>());
    }
}
