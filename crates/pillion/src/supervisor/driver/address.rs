//! Where the sidecar listens, whether it is ready, and whether it answers: announcements, checks and liveness, translated into
//! events.

use std::sync::Arc;

use pillion_protocol::{ListenAddr, health::HealthReport, is_blocked_by_browsers};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::Driver;
use crate::{
    health::liveness::LivenessResult,
    health::not_ready::NotReady,
    health::probe::{Probe, ProbeKind},
    output::{OutputBatch, Read},
    spec::{HttpCheck, LineMatch, ReadyCheck, ServerSource, Transport},
    state::{Event, Lifecycle, Step},
    supervisor::run::NoticeKind,
    transport::connector::Connector,
};

impl Driver {
    pub(super) fn absorb(&mut self, mut read: Read) {
        let progress = read.progress.take();
        let lines = Arc::clone(&read.lines);
        for addr in self.run.absorb(read) {
            self.announced(addr);
        }
        if let Some(words) = progress {
            self.run.diagnostics.progress.say(words, Instant::now());
            self.dispatch(Event::Extend(None));
        }
        self.look_for_line(&lines);
    }

    /// Handles an announcement of this address.
    fn announced(&mut self, addr: ListenAddr) {
        if let Some(first) = self.state.listen_addr() {
            if addr != first {
                self.announced_again(addr, first);
            }
            return;
        }
        if !matches!(self.state, Lifecycle::Starting(_) | Lifecycle::Ready { .. }) {
            return;
        }
        if self.is_unproved() {
            self.run.notice(
                NoticeKind::UnprovedPort,
                format!(
                    "it announced {addr}, which is ignored: `private` is on, and its ready check {:?} cannot prove the token; let it be \
                     checked by its health, or set `private` to false",
                    self.spec.ready_check.name()
                ),
            );
        } else if self.connector(addr).is_none() {
            self.run.misannounced(
                "it announced a socket (BACKEND_SOCKET), but this run was given none; let it announce a port"
                    .to_owned(),
            );
        } else {
            self.check_listener_taken(addr);
            if self.refuses_port(addr) {
                // The sidecar will not move to its socket, so waiting for the time limit is useless.
                self.run.diagnostics.refused_port = Some(addr);
                self.dispatch(Event::Expired);
            } else {
                self.check_port_callable(addr);
                self.dispatch(Event::Announced(addr));
            }
        }
    }

    /// Handles an announcement of another address than the `first` one, which holds as long as a server accepts connections there.
    fn announced_again(&mut self, addr: ListenAddr, first: ListenAddr) {
        let given = self.run.diagnostics.given_port.is_some_and(|port| Some(port) == first.port());
        let probed = self.spec.effective_check().needs_address();
        let holds = if probed { "holds while it accepts connections" } else { "holds" };
        let instead = if given { "instead of the declared one" } else { "as well" };
        self.run
            .notice(NoticeKind::AnnouncedTwice, format!("it announced {addr} {instead}; {first} {holds}"));
        if self.connector(addr).is_some() && !self.refuses_port(addr) {
            self.run.announced_since = Some(addr);
            if let Some(liveness) = &mut self.liveness {
                liveness.check_now();
            }
        }
    }

    /// Looks for the line that says that the sidecar is ready.
    fn look_for_line(&mut self, lines: &OutputBatch) {
        let (Lifecycle::Starting(Step::Checking { addr }), ReadyCheck::Line(check)) =
            (&self.state, self.spec.effective_check())
        else {
            return;
        };
        let addr = *addr;
        let Some(LineMatch { port }) = lines.lines().find_map(|line| check.find(lines.stream, &line.text()))
        else {
            return;
        };
        match (port.map(|port| (port.parse().map(ListenAddr::Tcp), port)), addr) {
            (Some((Err(_), port)), _) => {
                self.run.misannounced(format!(
                    "its ready line has the port {port:?}, which is not from 1 to 65535"
                ));
                return;
            }
            (Some((Ok(found), _)), None) => {
                self.check_port_callable(found);
                self.dispatch(Event::Announced(found));
            }
            (Some((Ok(found), _)), Some(known)) if found != known => self.run.notice(
                NoticeKind::AnnouncedTwice,
                format!("its ready line has {found}; {known} was known before, and holds"),
            ),
            (Some((Ok(_), _)) | None, _) => {}
        }
        self.dispatch(Event::Healthy);
    }

    /// Whether the sidecar should be private, and its check cannot prove the token: it got none, and must not be called.
    fn is_unproved(&self) -> bool {
        let ServerSource::Run(program) = &self.spec.source else { return false };
        program.private && !self.spec.ready_check.proves_token()
    }

    /// Whether this address is a port, and the declaration demands the local socket.
    fn refuses_port(&self, announced: ListenAddr) -> bool {
        let ServerSource::Run(program) = &self.spec.source else { return false };
        announced.port().is_some() && program.transport == Transport::Local && !program.may_use_port()
    }

    /// Checks that the announced address is that of the handed-over listener.
    fn check_listener_taken(&mut self, announced: ListenAddr) {
        if let Some(handover) = &mut self.handover
            && !handover.announced(announced)
        {
            let lost = handover.lost();
            let why = if !handover.was_offered() || self.run.is_unguarded() {
                // Where nothing can be handed over, the documentation says so; a port instead of a socket is worth a notice.
                if announced.port().is_some() && handover.expects_port() {
                    return;
                }
                format!("it announced {announced}, because no listener could be handed to it: {lost}")
            } else {
                format!("it announced {announced} and did not take the listener that it was handed: {lost}")
            };
            self.run.notice(NoticeKind::ListenerNotTaken, why);
        }
    }

    /// Warns of a port that no page can call.
    pub(super) fn check_port_callable(&mut self, announced: ListenAddr) {
        if let Some(port) = announced.port()
            && is_blocked_by_browsers(port)
        {
            self.run.notice(
                NoticeKind::BlockedPort,
                format!(
                    "browsers and webviews refuse to call port {port}: let the sidecar listen on another port"
                ),
            );
        }
    }

    pub(super) fn probed(&mut self, result: Result<HealthReport, NotReady>) {
        let Some((number, _)) = self.probe.take() else { return };
        match result {
            Ok(report) => {
                let mismatch = self.spec.mismatch(&report);
                self.run.version = report.version;
                self.run.diagnostics.not_ready = None;
                self.dispatch(mismatch.map_or(Event::Healthy, Event::Mismatch));
            }
            Err(NotReady::Unreachable(_)) if self.run.announced_since.is_some() => self.follow(),
            Err(error) => {
                let hopeless = error.is_final();
                if let (ReadyCheck::Health, Some(cure)) = (self.spec.effective_check(), error.cure()) {
                    let path = &self.spec.health_path;
                    let notice = format!("GET {path}: {error}; {cure}");
                    self.run.notice(NoticeKind::NoHealthHandler, notice);
                }
                self.run.diagnostics.not_ready = Some(error);
                if let Lifecycle::Starting(Step::Checking { addr }) = self.state {
                    // The server there does not hold the token and cannot get it, or no command can be run, so waiting for the time
                    // limit is useless.
                    if hopeless { self.dispatch(Event::Expired) } else { self.check(addr, number + 1) }
                }
            }
        }
    }

    /// Makes attempt `number` of the ready check. For a line, `absorb` looks at the output.
    pub(super) fn check(&mut self, addr: Option<ListenAddr>, number: u32) {
        if let Some(exec) = self.run.exec.clone() {
            self.probe = Some((number, Box::pin(exec.attempt(number).instrument(self.ready_span()))));
        } else if let Some(probe) = addr.and_then(|addr| self.probe_of(addr)) {
            let attempt = async move { probe.attempt(number).await }.instrument(self.ready_span());
            self.probe = Some((number, Box::pin(attempt)));
        }
    }

    /// The probe of this address. `None` if the sidecar is not checked by probes, or if no connector is known; `absorb` has already
    /// rejected such announcements.
    pub(super) fn probe_of(&self, addr: ListenAddr) -> Option<Probe> {
        let kind = match self.spec.effective_check() {
            ReadyCheck::Health => ProbeKind::Health { path: self.spec.health_path.clone() },
            ReadyCheck::Http(HttpCheck { path, status }) => {
                ProbeKind::Http { path: path.clone(), status: *status }
            }
            ReadyCheck::Tcp => ProbeKind::Tcp,
            ReadyCheck::Line(_) | ReadyCheck::Exec(_) | ReadyCheck::Notify | ReadyCheck::Started => {
                return None;
            }
        };
        Some(Probe {
            sidecar: self.spec.name.clone(),
            connector: self.connector(addr)?,
            kind,
            instance: self.run.instance,
            token: self.run.token.clone(),
            run: self.run.process.as_ref().map(|process| process.group.processes()),
            needs_report: self.spec.expects.is_some(),
        })
    }

    /// How to reach this address. `None` for a local socket that was not handed over.
    pub(super) fn connector(&self, addr: ListenAddr) -> Option<Connector> {
        match addr {
            ListenAddr::Tcp(port) => Some(Connector::Tcp(port)),
            ListenAddr::Local => {
                let connector = self.handover.as_ref()?.connector()?.clone();
                #[cfg(windows)]
                let connector = connector.served_by(&self.run.process.as_ref()?.group);
                (connector.listen_addr() == addr).then_some(connector)
            }
        }
    }

    /// Follows the sidecar to the address that it announced last. A server announces itself again when it executes itself anew, or
    /// starts a new worker.
    fn follow(&mut self) {
        if let Some(addr) = self.run.announced_since.take() {
            self.check_listener_taken(addr);
            // It names the former address; the next one is prepared when the sidecar is ready at the new address.
            self.run.http_stop = None;
            self.dispatch(Event::Moved(addr));
        }
    }

    pub(super) fn on_liveness_result(&mut self, result: LivenessResult) {
        let unreachable_or_hung = matches!(
            result,
            LivenessResult::Degraded(Some(NotReady::Unreachable(_))) | LivenessResult::Hung(_)
        );
        if unreachable_or_hung && self.run.announced_since.is_some() {
            return self.follow();
        }
        let hung = self.hung_event();
        let diagnostics = &mut self.run.diagnostics;
        let (event, not_ready) = match result {
            LivenessResult::Healthy => {
                diagnostics.hang = None;
                (Event::Healthy, None)
            }
            LivenessResult::Degraded(why) => {
                // A sidecar that hangs, and is not restarted, goes on to hang until it shows something else.
                diagnostics.hang = diagnostics.hang.filter(|_| why.is_none());
                (Event::Unhealthy, why)
            }
            LivenessResult::Hung(reason) => {
                diagnostics.hang = Some(reason);
                (hung, diagnostics.not_ready.take())
            }
        };
        self.run.diagnostics.not_ready = not_ready;
        self.dispatch(event);
    }

    /// The event for a ready sidecar that hangs.
    pub(super) fn hung_event(&self) -> Event {
        let restart = self.spec.liveness.is_none_or(|liveness| liveness.restart);
        if restart { Event::Hung } else { Event::Unhealthy }
    }
}
