//! What the handles of a sidecar see of it at one moment.

use std::{num::NonZeroU16, sync::Weak};

use pillion_protocol::{ListenAddr, Token};

use crate::{
    output::Tail,
    report::hide_tokens::hide_tokens,
    report::messages::{self, StartDiagnostics, WaitsFor},
    spec::Spec,
    state::Lifecycle,
    status::{Endpoint, Exit, Failure, FailureKind, Readiness, State, Status},
    sys::Group,
    transport::access::Access,
    transport::connector::Connector,
    wall_clock::now_ms,
};

/// How many lines of output a failure carries.
const FAILURE_TAIL_LINES: usize = 20;

/// A status, and what `ready()` and `access()` answer at the same moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) status: Status,
    pub(crate) answer: ReadyAnswer,
    /// Which run it is about.
    pub(crate) run: u64,
    /// Its processes, while it has some.
    pub(crate) measured: Option<Measured>,
    /// What a request to a sidecar that is up needs, its token included. It stays in here: no status, event or failure carries it.
    pub(crate) access: Option<Access>,
}

/// The processes whose use is measured.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// The number of the run among those of its sidecar.
    pub(crate) ordinal: u64,
    /// The driver owns the processes: a measurement must not keep them.
    pub(crate) group: Weak<Group>,
}

/// What `ready()` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadyAnswer {
    Pending,
    /// A use starts it.
    Idle,
    Up(Endpoint),
    Down(Failure),
}

/// What a snapshot is made from, besides the lifecycle state.
#[derive(Debug)]
pub(crate) struct StatusInputs<'a> {
    pub(crate) spec: &'a Spec,
    /// Distinguishes the run from all others.
    pub(crate) run: u64,
    pub(crate) pid: Option<u32>,
    /// When the process was started, in milliseconds since the Unix epoch.
    pub(crate) started: Option<u64>,
    pub(crate) version: Option<&'a str>,
    pub(crate) token: Option<&'a Token>,
    pub(crate) diagnostics: &'a StartDiagnostics,
    pub(crate) tail: &'a Tail,
    pub(crate) restarts: u32,
    /// What the launch waits for.
    pub(crate) waits_for: Option<WaitsFor>,
    /// How to reach the run, once its address is announced.
    pub(crate) connector: Option<Connector>,
    /// The port of a handed-over listener, which stays the same between runs.
    pub(crate) kept_port: Option<NonZeroU16>,
    /// Its processes, while it has some.
    pub(crate) measured: Option<Measured>,
}

impl Snapshot {
    /// The snapshot before the actor has run.
    pub(crate) fn initial(spec: &Spec, state: State) -> Self {
        let answer = if state == State::Idle { ReadyAnswer::Idle } else { ReadyAnswer::Pending };
        let status = Status {
            sidecar: spec.name.clone(),
            seq: 0,
            at: now_ms(),
            state,
            readiness: answer.readiness(),
            pid: None,
            started: None,
            port: None,
            url: None,
            version: None,
            progress: None,
            reason: None,
            failure: None,
            exit: None,
            restarts: 0,
        };
        Self { status, answer, run: 0, measured: None, access: None }
    }

    /// The snapshot that follows this one; `None` if nothing visible changed.
    pub(crate) fn next(&self, state: &Lifecycle, inputs: &StatusInputs<'_>, now: u64) -> Option<Self> {
        let failure = failure(state, inputs);
        let endpoint = endpoint(state, inputs);
        let unwanted = failure.as_ref().filter(|failure| failure.kind != FailureKind::Stopped).cloned();
        let reason = unwanted.as_ref().map(|failure| failure.message.clone());
        let answer = ReadyAnswer::from(state, endpoint.clone(), failure);
        let status = Status {
            sidecar: inputs.spec.name.clone(),
            seq: self.status.seq,
            at: self.status.at,
            state: state.state(),
            readiness: answer.readiness(),
            pid: inputs.pid,
            started: inputs.started,
            port: state.listen_addr().map_or(inputs.kept_port, ListenAddr::port),
            url: endpoint.as_ref().and_then(|endpoint| endpoint.url.clone()),
            version: endpoint.as_ref().and_then(|endpoint| endpoint.version.clone()),
            progress: inputs.diagnostics.progress.shown().filter(|_| has_process(state)).map(str::to_owned),
            reason: reason
                .or_else(|| messages::reason(state, inputs.spec, inputs.diagnostics, inputs.waits_for)),
            failure: unwanted,
            exit: exit(state),
            restarts: inputs.restarts,
        };
        if status == self.status {
            return None;
        }
        let status = Status { seq: self.status.seq + 1, at: now, ..status };
        let access = endpoint.as_ref().zip(inputs.connector.clone()).and_then(
            |(Endpoint { url, pid, .. }, connector)| {
                Some(Access { url: url.clone()?, pid: *pid, token: inputs.token.cloned(), connector })
            },
        );
        Some(Self { status, answer, run: inputs.run, measured: inputs.measured.clone(), access })
    }
}

impl ReadyAnswer {
    /// The answer in this state.
    pub(crate) fn of(state: &Lifecycle, inputs: &StatusInputs<'_>) -> Self {
        Self::from(state, endpoint(state, inputs), failure(state, inputs))
    }

    fn from(state: &Lifecycle, endpoint: Option<Endpoint>, failure: Option<Failure>) -> Self {
        match (endpoint, failure) {
            (Some(endpoint), _) => Self::Up(endpoint),
            (None, _) if state.starts_on_use() => Self::Idle,
            (None, Some(failure)) if !state.will_restart() => Self::Down(failure),
            (None, _) => Self::Pending,
        }
    }

    fn readiness(&self) -> Readiness {
        match self {
            Self::Pending => Readiness::Pending,
            Self::Idle => Readiness::Idle,
            Self::Up(_) => Readiness::Up,
            Self::Down(_) => Readiness::Down,
        }
    }
}

fn failure(state: &Lifecycle, inputs: &StatusInputs<'_>) -> Option<Failure> {
    let tail = || inputs.tail.last(FAILURE_TAIL_LINES);
    let mut failure = messages::failure(state, inputs.spec, inputs.diagnostics, tail)?;
    // A sidecar may print its own token, and pages without the token see its failure.
    let hide = |text: &mut String| *text = hide_tokens(std::mem::take(text), inputs.token);
    hide(&mut failure.message);
    failure.detail.tail.iter_mut().for_each(hide);
    Some(failure)
}

fn endpoint(state: &Lifecycle, inputs: &StatusInputs<'_>) -> Option<Endpoint> {
    let (Lifecycle::Ready { addr } | Lifecycle::Unhealthy { addr }) = *state else { return None };
    Some(Endpoint {
        sidecar: inputs.spec.name.clone(),
        url: addr.map(url),
        port: addr.and_then(ListenAddr::port),
        pid: inputs.pid,
        version: inputs.version.map(str::to_owned),
    })
}

/// The base URL. Only the client of the plugin understands that of a local socket.
fn url(addr: ListenAddr) -> String {
    let scheme = if addr == ListenAddr::Local { "pillion" } else { "http" };
    format!("{scheme}://{}", addr.authority())
}

/// Whether a process may run that says how far it is.
fn has_process(state: &Lifecycle) -> bool {
    match state {
        Lifecycle::Starting(_)
        | Lifecycle::Ready { .. }
        | Lifecycle::Unhealthy { .. }
        | Lifecycle::Ending(_) => true,
        Lifecycle::Waiting { .. } | Lifecycle::BackingOff(_) | Lifecycle::Idle(_) | Lifecycle::Down(_) => {
            false
        }
    }
}

fn exit(state: &Lifecycle) -> Option<Exit> {
    match state {
        Lifecycle::Ending(ending) => ending.exit,
        Lifecycle::BackingOff(pause) => pause.exit,
        Lifecycle::Down(ended) => ended.exit,
        Lifecycle::Idle(ended) => ended.as_ref().and_then(|ended| ended.exit),
        Lifecycle::Waiting { .. }
        | Lifecycle::Starting(_)
        | Lifecycle::Ready { .. }
        | Lifecycle::Unhealthy { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Awaits, Event, Requester, Restarts};
    use crate::{Restart, RestartLimit};
    use std::{num::NonZeroU16, time::Duration};

    const ADDR: ListenAddr = ListenAddr::Tcp(NonZeroU16::new(4242).unwrap());

    /// The states, and the readiness that each snapshot carries, after these events.
    fn seen(policy: Restart, events: impl IntoIterator<Item = Event>) -> Vec<(State, Readiness)> {
        let spec = Spec::run("backend", "./backend");
        let mut restarts = Restarts::new(policy, RestartLimit::default());
        let (mut state, _) = Lifecycle::start(&mut restarts);
        let mut snapshot = Snapshot::initial(&spec, State::Waiting);
        let mut seen = Vec::new();
        for event in events {
            state = state.on(event, &mut restarts, Duration::ZERO).0;
            let inputs = StatusInputs {
                spec: &spec,
                run: 0,
                pid: None,
                started: None,
                version: None,
                token: None,
                diagnostics: &StartDiagnostics::default(),
                tail: &Tail::default(),
                restarts: 0,
                waits_for: None,
                connector: None,
                kept_port: None,
                measured: None,
            };
            if let Some(next) = snapshot.next(&state, &inputs, 0) {
                assert_eq!(next.status.readiness, ReadyAnswer::of(&state, &inputs).readiness());
                seen.push((next.status.state, next.status.readiness));
                snapshot = next;
            }
        }
        seen
    }

    #[test]
    fn readiness_follows_the_answer_of_ready() {
        let up = [
            Event::DependenciesReady,
            Event::Launched(Awaits::Announcement),
            Event::Announced(ADDR),
            Event::Healthy,
            Event::Unhealthy,
        ];
        let crash = [Event::Exited(Exit::with_signal(9)), Event::Gone];
        let states = seen(Restart::OnFailure, up.clone().into_iter().chain(crash.clone()));
        assert_eq!(
            states,
            [
                (State::Starting, Readiness::Pending),
                (State::Starting, Readiness::Pending),
                (State::Starting, Readiness::Pending),
                (State::Ready, Readiness::Up),
                (State::Unhealthy, Readiness::Up),
                (State::Stopping, Readiness::Pending),
                (State::BackingOff, Readiness::Pending),
            ]
        );
        let states = seen(Restart::Never, up.into_iter().chain(crash));
        assert_eq!(states[5..], [(State::Stopping, Readiness::Down), (State::Failed, Readiness::Down)]);
        let blocked =
            seen(Restart::Never, [Event::DependencyFailed("db failed".into()), Event::Stop(Requester::Stop)]);
        assert_eq!(blocked, [(State::Waiting, Readiness::Down), (State::Stopped, Readiness::Down)]);
    }
}
