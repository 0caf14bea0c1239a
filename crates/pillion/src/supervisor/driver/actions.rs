//! Executes the actions of the state machine.

use std::{collections::VecDeque, io, num::NonZeroU16, sync::Arc};

use pillion_protocol::ListenAddr;

use crate::{
    health::liveness::LivenessMonitor,
    report::messages::WaitsFor,
    spawn::oom_kill::OomKills,
    spec::{Listen, Program, ServerSource, StopRequest},
    state::{Action, Event, Lifecycle},
    supervisor::{
        dependencies::{Dependency, DependencyMoves, DependencyRestart, LaunchWait},
        driver::Driver,
        prepared_http_stop::PreparedHttpStop,
        run::{NoticeKind, Run},
    },
    sys::on_thread,
    transport::{handover::Handover, port_reservation},
};

impl Driver {
    pub(super) fn act(&mut self, actions: Vec<Action>) {
        self.on_state_entered();
        let mut answers = VecDeque::new();
        for action in actions {
            match action {
                Action::Wait => answers.extend(self.wait_for_launch()),
                Action::Launch => self.launch(),
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

    /// Begins the wait, or answers at once if there is nothing to wait for.
    fn wait_for_launch(&mut self) -> Option<Event> {
        let uses = self.after.iter().filter_map(Dependency::begin_use);
        // The new leases are there before the old ones end.
        let (leases, uncounted) = uses.unzip();
        self.leases = leases;
        let (after, predecessors) = (self.after.clone(), self.predecessors.clone());
        self.launch_wait =
            LaunchWait::new(after, uncounted, predecessors, self.inherits_login_shell(), self.taken_port());
        self.launch_wait.is_none().then_some(Event::DependenciesReady)
    }

    fn launch(&mut self) {
        // They have ended: the wait is over.
        self.predecessors = None;
        let listener = self.handover.as_mut().and_then(Handover::offer);
        let (spec, recorder) = (Arc::clone(&self.spec), self.recorder.clone());
        self.run = Run::none(&spec, recorder.clone());
        // Before their addresses are read, so that no restart in between is missed.
        self.dependency_restart = DependencyRestart::of(&self.after);
        if let ServerSource::Run(program) = &spec.source {
            self.dependency_moves = DependencyMoves::of(&self.after, program, &spec.ready_check);
        }
        let dependencies = self.after.iter().map(Dependency::address).collect();
        let (reports, restarts) = (self.reports.clone(), self.restarts.streak());
        let previous_port = self.previous_port;
        let launch =
            move || Run::launch(&spec, listener, previous_port, dependencies, &reports, restarts, recorder);
        // Blocks until the guard has started the program, which a slow file system can delay.
        self.launch = Some(Box::pin(on_thread(launch)));
        // While that thread prepares the launch, which need not wait for this.
        self.run.oom_kills = OomKills::here();
    }

    pub(super) fn launched(&mut self, launched: Option<Box<(Run, Event)>>) {
        self.launch = None;
        let event = match launched {
            Some(launched) => {
                let (mut run, event) = *launched;
                run.oom_kills = self.run.oom_kills.take();
                self.run = run;
                self.watch_memory();
                if let Some(port) = self.run.diagnostics.given_port {
                    self.previous_port = Some(port);
                    self.check_port_callable(ListenAddr::Tcp(port));
                }
                event
            }
            None => Event::NotLaunched("the system allows no further thread".to_owned()),
        };
        match &event {
            Event::NotLaunched(why) => self.log_failed_start(&format!("could not be started: {why}")),
            Event::WrongProgram(why) => {
                self.log_failed_start(&format!("is not what this app expects: {why}"));
            }
            _ => {}
        }
        self.dispatch(event);
    }

    /// What to answer if no process exists. A launch under way answers later, and the stop then applies to its process.
    fn gone(&self) -> Option<Event> {
        self.launch.is_none().then_some(Event::Gone)
    }

    fn on_state_entered(&mut self) {
        self.trace_state();
        if let Lifecycle::Ready { addr: Some(addr) } = self.state {
            self.prepare_http_stop(addr);
        }
        match &self.state {
            Lifecycle::Waiting { .. } => {}
            Lifecycle::Starting(_) => {
                (self.launch_wait, self.liveness, self.watchdog) = (None, None, None);
            }
            Lifecycle::Ready { addr } | Lifecycle::Unhealthy { addr } => {
                self.run.ready();
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
                (self.liveness, self.watchdog, self.memory) = (None, None, None);
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
                (self.launch_wait, self.dependency_restart, self.dependency_moves) = (None, None, None);
                (self.probe, self.liveness, self.watchdog, self.memory) = (None, None, None, None);
                // The process of a launch that is abandoned is killed when it starts.
                (self.launch, self.group_empty, self.http_stop) = (None, None, None);
                self.run.notifications = None;
                // Reaps the leader, and kills what might be left of its group.
                self.run.process = None;
            }
        }
    }

    fn inherits_login_shell(&self) -> bool {
        matches!(&self.spec.source, ServerSource::Run(program) if program.login_shell_env)
    }

    /// The launch waits for something else than before.
    pub(super) fn waits_for_another(&mut self) {
        if let Some(WaitsFor::EarlierServer(port)) = self.launch_wait.as_ref().and_then(LaunchWait::waits_for)
        {
            let text = format!(
                "it waits for port {port}: a server of an app that has ended still has it, and is being stopped"
            );
            self.run.notice(NoticeKind::EarlierServer, text);
        }
    }

    /// The fixed port, if another program has it.
    fn taken_port(&self) -> Option<NonZeroU16> {
        match &self.spec.source {
            ServerSource::Run(Program { listen: Listen::Fixed(port), .. }) => Some(*port),
            _ => None,
        }
        .filter(|port| port_reservation::is_taken(*port, &self.spec.name))
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

    pub(super) fn http_stop_answered(&mut self, result: io::Result<()>) {
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
}
