//! What the handles of a sidecar see of it at one moment.

use std::{
    num::NonZeroU16,
    time::{SystemTime, UNIX_EPOCH},
};

use pillion_protocol::{ListenAddr, Token};

use crate::{
    output::Tail,
    report::messages::{self, StartDiagnostics},
    spec::Spec,
    state::Lifecycle,
    status::{Endpoint, Exit, Failure, FailureKind, State, Status},
    transport::access::Access,
    transport::connector::Connector,
};

/// How many lines of output a failure carries.
const TAIL: usize = 20;

/// A status, and what it means for whoever waits.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) status: Status,
    pub(crate) readiness: Readiness,
    /// What a request to a sidecar that is up needs: the token among it, which it has proved that it holds. It stays in here: no
    /// status, event or failure carries it.
    pub(crate) access: Option<Access>,
}

/// The answer to whoever waits for readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    Pending,
    Up(Endpoint),
    Down(Failure),
}

/// What is known beside the state.
#[derive(Debug)]
pub(crate) struct StatusInputs<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) pid: Option<u32>,
    pub(crate) version: Option<&'a str>,
    pub(crate) token: Option<&'a Token>,
    pub(crate) diagnostics: &'a StartDiagnostics,
    pub(crate) tail: &'a Tail,
    pub(crate) restarts: u32,
    /// How to reach it, once that is announced.
    pub(crate) connector: Option<Connector>,
    /// The port that stays whatever becomes of the process.
    pub(crate) kept: Option<NonZeroU16>,
}

impl Snapshot {
    /// What is known before the task has run at all.
    pub(crate) fn initial(spec: &Spec, state: State) -> Self {
        let status = Status {
            sidecar: spec.name.clone(),
            seq: 0,
            at: now_ms(),
            state,
            pid: None,
            port: None,
            url: None,
            version: None,
            reason: None,
            failure: None,
            exit: None,
            restarts: 0,
        };
        Self { status, readiness: Readiness::Pending, access: None }
    }

    /// The snapshot that follows this one; `None` when nothing changed that anybody can see.
    pub(crate) fn next(&self, state: &Lifecycle, inputs: &StatusInputs<'_>, now: u64) -> Option<Self> {
        let failure = failure(state, inputs);
        let endpoint = endpoint(state, inputs);
        let unwanted = failure.as_ref().filter(|failure| failure.kind != FailureKind::Stopped);
        let reason = unwanted.map(|failure| failure.message.clone());
        let status = Status {
            sidecar: inputs.spec.name.clone(),
            seq: self.status.seq,
            at: self.status.at,
            state: state.state(),
            pid: inputs.pid,
            port: state.listen_addr().map_or(inputs.kept, ListenAddr::port),
            url: endpoint.as_ref().map(|endpoint| endpoint.url.clone()),
            version: endpoint.as_ref().and_then(|endpoint| endpoint.version.clone()),
            reason: reason.or_else(|| messages::reason(state, inputs.spec, inputs.diagnostics)),
            failure: unwanted.cloned(),
            exit: exit(state),
            restarts: inputs.restarts,
        };
        if status == self.status {
            return None;
        }
        let status = Status { seq: self.status.seq + 1, at: now, ..status };
        let access =
            endpoint.as_ref().zip(inputs.connector.clone()).map(|(Endpoint { url, pid, .. }, connector)| {
                Access { url: url.clone(), pid: *pid, token: inputs.token.cloned(), connector }
            });
        let readiness = Readiness::from(state, endpoint, failure);
        Some(Self { status, readiness, access })
    }
}

impl Readiness {
    /// The answer in this state.
    pub(crate) fn of(state: &Lifecycle, inputs: &StatusInputs<'_>) -> Self {
        Self::from(state, endpoint(state, inputs), failure(state, inputs))
    }

    fn from(state: &Lifecycle, endpoint: Option<Endpoint>, failure: Option<Failure>) -> Self {
        match (endpoint, failure) {
            (Some(endpoint), _) => Self::Up(endpoint),
            (None, Some(failure)) if !state.will_restart() => Self::Down(failure),
            (None, _) => Self::Pending,
        }
    }
}

fn failure(state: &Lifecycle, inputs: &StatusInputs<'_>) -> Option<Failure> {
    messages::failure(state, inputs.spec, inputs.diagnostics, || inputs.tail.last(TAIL))
}

fn endpoint(state: &Lifecycle, inputs: &StatusInputs<'_>) -> Option<Endpoint> {
    let (Lifecycle::Ready { addr } | Lifecycle::Unhealthy { addr }) = *state else { return None };
    Some(Endpoint {
        sidecar: inputs.spec.name.clone(),
        url: url(addr),
        port: addr.port(),
        pid: inputs.pid,
        version: inputs.version.map(str::to_owned),
    })
}

/// The address that a page uses; that of a socket is for the plugin's client alone.
fn url(addr: ListenAddr) -> String {
    let scheme = if addr == ListenAddr::Local { "pillion" } else { "http" };
    format!("{scheme}://{}", addr.authority())
}

fn exit(state: &Lifecycle) -> Option<Exit> {
    match state {
        Lifecycle::Ending(ending) => ending.exit,
        Lifecycle::BackingOff(pause) => pause.exit,
        Lifecycle::Down(ended) => ended.exit,
        Lifecycle::Waiting { .. }
        | Lifecycle::Starting(_)
        | Lifecycle::Ready { .. }
        | Lifecycle::Unhealthy { .. } => None,
    }
}

/// The clock, in milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "it is only shown")]
pub(crate) fn now_ms() -> u64 {
    // Before 1970 the clock is wrong, and 0 says so.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
