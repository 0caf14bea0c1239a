//! The sentences of statuses and failures.

mod start;

use std::{net::SocketAddr, num::NonZeroU16, time::Duration};

use pillion_protocol::{ListenAddr, NearMiss};

use crate::{
    health::{hang_reason::HangReason, memory::MemoryUse, not_ready::NotReady},
    report::{
        progress::Progress,
        units::{bytes, duration},
    },
    spec::{HttpCheck, ReadyCheck, RestartLimit, Spec},
    state::{BackingOff, Cause, Ended, Ending, Lifecycle, Next, RestartDecision, Step, StopStage},
    status::{Detail, Exit, Failure, FailureKind, StopOutcome},
};

/// What a run noticed that may explain a failure.
#[derive(Debug, Default)]
pub(crate) struct StartDiagnostics {
    /// The port that the process received.
    pub(crate) given_port: Option<NonZeroU16>,
    /// A sentence about the last line that was almost an announcement.
    pub(crate) misannounced: Option<String>,
    /// The port that a sidecar announced although its declaration demands the local socket.
    pub(crate) refused_port: Option<ListenAddr>,
    /// The last line that was probably meant as an announcement, but is an ordinary line.
    pub(crate) near_miss: Option<NearMiss>,
    /// Where its processes accepted connections when its time was over, if the system tells.
    pub(crate) listens: Vec<SocketAddr>,
    /// Why the last health request found the sidecar not ready.
    pub(crate) not_ready: Option<NotReady>,
    /// How far the sidecar says it is.
    pub(crate) progress: Progress,
    /// How long the start may take, if progress has extended it.
    pub(crate) time_limit: Option<Duration>,
    /// Whether the sidecar says that it stops by itself.
    pub(crate) stopping: bool,
    /// How the sidecar showed that it hangs.
    pub(crate) hang: Option<HangReason>,
    /// How much memory its processes used when that was more than its declaration allows.
    pub(crate) memory: Option<MemoryUse>,
    /// A sentence, if the leader was killed because memory ran out.
    pub(crate) out_of_memory: Option<String>,
    /// The processes that still ran when the leader exited with code 0, if the system tells.
    pub(crate) left: Vec<String>,
    /// How long the process lived, once it has ended.
    pub(crate) lived: Option<Duration>,
}

/// What a sidecar waits for before its launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    Dependencies,
    /// Another specification was started in its place, whose process has not ended.
    LastProcess,
    LoginShell,
    /// A server of an app that has ended has its port, until the guard of that app has stopped it.
    EarlierServer(NonZeroU16),
}

impl WaitsFor {
    fn words(self) -> String {
        match self {
            Self::Dependencies => "waiting for its dependencies".to_owned(),
            Self::LastProcess => "waiting for the end of its last process".to_owned(),
            Self::LoginShell => "waiting for the environment of the login shell".to_owned(),
            Self::EarlierServer(port) => {
                format!("waiting for port {port}, which a server of an app that has ended still has")
            }
        }
    }
}

/// The reason of a status without a failure. `waits_for` is what the launch waits for.
pub(crate) fn reason(
    state: &Lifecycle,
    spec: &Spec,
    diagnostics: &StartDiagnostics,
    waits_for: Option<WaitsFor>,
) -> Option<String> {
    match state {
        Lifecycle::Waiting { .. } => waits_for.map(WaitsFor::words),
        Lifecycle::Starting(Step::Launching) => None,
        Lifecycle::Starting(Step::Announcing) => {
            Some("waiting until it announces where it listens (BACKEND_PORT:{port} on stdout)".to_owned())
        }
        Lifecycle::Starting(Step::Checking { addr }) => Some(format!("waiting for {}", awaited(spec, *addr))),
        Lifecycle::Ready { addr } => Some(passed(spec, *addr)),
        Lifecycle::Unhealthy { addr } => Some(unhealthy(spec, *addr, diagnostics)),
        Lifecycle::Ending(Ending { cause: Cause::Finished, .. }) => Some("finished by itself".to_owned()),
        Lifecycle::Ending(Ending { next: Next::Start, .. }) => Some("asked to restart".to_owned()),
        Lifecycle::Ending(Ending {
            cause: Cause::DependencyRestarted(name), next: Next::StartAgain, ..
        }) => Some(format!("restarted with {name}")),
        Lifecycle::Ending(Ending {
            cause: Cause::Unused,
            next: Next::After(RestartDecision::Idle),
            stage: StopStage::LeaderAsked | StopStage::GroupAsked,
            ..
        }) => Some(format!("asked to stop, because nothing has used it{}", unused_for(spec))),
        Lifecycle::Ending(Ending { stage: StopStage::LeaderAsked | StopStage::GroupAsked, .. }) => {
            Some(format!("asked to stop; grace period {}", duration(spec.grace)))
        }
        Lifecycle::Ending(Ending { stage: StopStage::KilledLeader | StopStage::KilledRest, .. }) => {
            Some("being killed".to_owned())
        }
        Lifecycle::BackingOff(_) => Some("it will be started again".to_owned()),
        Lifecycle::Idle(None) => Some("not started yet: its first use starts it".to_owned()),
        Lifecycle::Idle(Some(ended)) => Some(format!("{}; the next use starts it", down(ended, diagnostics))),
        Lifecycle::Down(ended) => Some(down(ended, diagnostics)),
    }
}

/// What the ready check waits for.
fn awaited(spec: &Spec, addr: Option<ListenAddr>) -> String {
    let on = addr.map(|addr| format!(" on {}", place(addr))).unwrap_or_default();
    match spec.effective_check() {
        ReadyCheck::Health => format!("GET {}{on} to answer", spec.health_path),
        ReadyCheck::Http(check @ HttpCheck { path, .. }) => {
            format!("GET {path}{on} to answer {}", status(check))
        }
        ReadyCheck::Tcp => format!("a connection{on} to be accepted"),
        ReadyCheck::Line(check) => check.to_string(),
        ReadyCheck::Exec(check) => format!("{check} to exit with code 0"),
        ReadyCheck::Notify => "READY=1 on its NOTIFY_SOCKET".to_owned(),
        ReadyCheck::Started => "the start".to_owned(),
    }
}

/// How the ready check passed, or the last check of a ready sidecar.
fn passed(spec: &Spec, addr: Option<ListenAddr>) -> String {
    match spec.effective_check() {
        ReadyCheck::Health => format!("GET {} answered", spec.health_path),
        ReadyCheck::Http(HttpCheck { path, .. }) => format!("GET {path} answered"),
        ReadyCheck::Tcp => format!("{} accepts connections", addr.map_or_else(String::new, place)),
        ReadyCheck::Line(check) => format!("it wrote {check}"),
        ReadyCheck::Exec(check) => format!("{check} exited with code 0"),
        ReadyCheck::Notify => "it sent READY=1".to_owned(),
        ReadyCheck::Started => "it was started".to_owned(),
    }
}

/// The status that an HTTP check expects.
fn status(check: &HttpCheck) -> String {
    check.status.map_or_else(|| "2xx".to_owned(), |status| status.to_string())
}

fn unhealthy(spec: &Spec, addr: Option<ListenAddr>, diagnostics: &StartDiagnostics) -> String {
    if diagnostics.stopping {
        return "it says that it is stopping (STOPPING=1)".to_owned();
    }
    if diagnostics.hang.is_some() {
        return format!("{}; it is not restarted", hung(spec, diagnostics.hang));
    }
    let what =
        diagnostics.not_ready.as_ref().map_or_else(|| "an answer is overdue".to_owned(), ToString::to_string);
    let on = addr.map(|addr| format!(" on {}", place(addr))).unwrap_or_default();
    match spec.effective_check() {
        ReadyCheck::Http(HttpCheck { path, .. }) => format!("the check GET {path}{on} fails: {what}"),
        ReadyCheck::Tcp => format!("the connection check{on} fails: {what}"),
        ReadyCheck::Health
        | ReadyCheck::Line(_)
        | ReadyCheck::Exec(_)
        | ReadyCheck::Notify
        | ReadyCheck::Started => {
            format!("the health check GET {}{on} fails: {what}", spec.health_path)
        }
    }
}

fn down(ended: &Ended, diagnostics: &StartDiagnostics) -> String {
    let left = if ended.cause == Cause::Finished { left(diagnostics) } else { String::new() };
    match ended.outcome {
        StopOutcome::NotRunning => "not running".to_owned(),
        StopOutcome::Detached => "detached; the server goes on".to_owned(),
        StopOutcome::Graceful(exit) if ended.cause == Cause::Finished => {
            format!("{exit} by itself{left}")
        }
        StopOutcome::Graceful(exit) if ended.cause == Cause::Unused => {
            format!("{exit} after it was asked to stop, because nothing used it")
        }
        StopOutcome::Graceful(exit) => format!("{exit} after it was asked to stop"),
        StopOutcome::GroupKilled(exit) => {
            format!("{exit}; other processes of its group did not end and were killed{left}")
        }
        StopOutcome::Killed(exit) => format!("{exit}: it did not end by itself"),
        StopOutcome::Abandoned => {
            "was killed, but the system has not ended it; the supervisor no longer waits for it".to_owned()
        }
    }
}

/// How long an unused sidecar may go on. Completes a sentence.
fn unused_for(spec: &Spec) -> String {
    spec.idle_stop.map(|limit| format!(" for {}", duration(limit))).unwrap_or_default()
}

/// The failure in this state; `None` if the sidecar is up, starting, or restarting on request.
///
/// `tail` returns the last lines of output. It is called only for a failure.
pub(crate) fn failure(
    state: &Lifecycle,
    spec: &Spec,
    diagnostics: &StartDiagnostics,
    tail: impl FnOnce() -> Vec<String>,
) -> Option<Failure> {
    let name = &spec.name;
    let (cause, exit) = match state {
        Lifecycle::Waiting { blocked: Some(why), .. } => {
            return Some(Failure::new(
                FailureKind::Dependency,
                name,
                format!("{name} waits for a dependency that has failed: {why}"),
            ));
        }
        Lifecycle::Waiting { blocked: None, .. }
        | Lifecycle::Starting(_)
        | Lifecycle::Ready { .. }
        | Lifecycle::Unhealthy { .. }
        | Lifecycle::Idle(None)
        | Lifecycle::Ending(Ending { next: Next::Start | Next::StartAgain, .. }) => return None,
        Lifecycle::Ending(ending) => (&ending.cause, ending.exit),
        Lifecycle::BackingOff(BackingOff { cause, exit, .. }) => (cause, *exit),
        Lifecycle::Idle(Some(ended)) | Lifecycle::Down(ended) => (&ended.cause, ended.exit),
    };
    let (kind, message) = match cause {
        Cause::Requested(_) | Cause::DependencyRestarted(_) => {
            (FailureKind::Stopped, format!("{name} was stopped"))
        }
        Cause::Unused => (FailureKind::Stopped, format!("{name} was stopped, because nothing used it")),
        Cause::Finished => (FailureKind::Stopped, format!("{name} finished by itself")),
        Cause::NotLaunched(why) => (FailureKind::Spawn, format!("{name} could not be started: {why}")),
        Cause::Mismatch(why) => {
            (FailureKind::Mismatch, format!("{name} is not what this app expects: {why}"))
        }
        Cause::Crashed => (
            FailureKind::Crashed,
            format!("{name} {} while {}{}", ended(exit), use_of(state), out_of_memory(diagnostics)),
        ),
        Cause::Hung => (FailureKind::Hung, hung(spec, diagnostics.hang)),
        Cause::MemoryExceeded => (FailureKind::MemoryLimit, memory_exceeded(name, diagnostics.memory)),
        Cause::ExitedEarly(step) => {
            (FailureKind::ExitedEarly, start::exited_early(spec, exit, *step, diagnostics))
        }
        Cause::TimedOut(step) => (FailureKind::ReadyTimeout, start::timed_out(spec, *step, diagnostics)),
    };
    let message = match state {
        Lifecycle::Down(Ended { given_up: true, .. }) => {
            let RestartLimit { limit, window } = spec.restart_limit;
            format!("{message}; given up after {limit} restarts within {}", duration(window))
        }
        Lifecycle::Idle(_) => format!("{message}; nothing uses it, so it stays down until its next use"),
        _ => message,
    };
    Some(Failure { kind, message, detail: Detail { sidecar: name.clone(), exit, tail: tail() } })
}

fn hung(spec: &Spec, reason: Option<HangReason>) -> String {
    let (name, liveness) = (&spec.name, spec.liveness.unwrap_or_default());
    match reason.unwrap_or(HangReason::Silent) {
        HangReason::Silent => {
            let silence = liveness.interval.saturating_mul(liveness.tolerance.max(1));
            format!("{name} hangs: it answered no health request for {}", duration(silence))
        }
        HangReason::Refused => {
            format!("{name} hangs: its process lives, but nothing accepts connections at its address")
        }
        HangReason::WorkerEnded(pid) => format!(
            "{name} hangs: its worker process {pid} has ended, and it has answered no health request since then"
        ),
        HangReason::BusyTooLong => format!(
            "{name} hangs: it used the processor for {} without answering a health request; if it needs longer, raise \
             the busy limit of its liveness check",
            duration(liveness.busy_limit)
        ),
        HangReason::WatchdogMissed { interval, kept_alive: true } => {
            format!("{name} hangs: it sent no WATCHDOG=1 for {}", duration(interval))
        }
        HangReason::WatchdogMissed { interval, kept_alive: false } => format!(
            "{name} hangs: it sent READY=1, and no WATCHDOG=1 within {} after that; let the program send it at half of the time in \
             WATCHDOG_USEC, let a wrapper (`sh -c`, `npm`) become the program by `exec`, because WATCHDOG_PID names the wrapper, or \
             leave `watchdogMs` out",
            duration(interval)
        ),
        HangReason::WatchdogTriggered => {
            format!("{name} says that it hangs (WATCHDOG=trigger)")
        }
        HangReason::RequestTooLong => format!(
            "{name} hangs: it answered no health request for {}, while it had other requests to answer; if they need \
             longer, raise the busy limit of its liveness check",
            duration(liveness.busy_limit)
        ),
    }
}

fn memory_exceeded(name: &str, memory: Option<MemoryUse>) -> String {
    let figures = memory.map(|MemoryUse { used, limit }| {
        format!(" of {}: its processes used {} together", bytes(limit), bytes(used))
    });
    format!(
        "{name} reached its memory limit{}; if it needs more, raise `maxMemory`",
        figures.unwrap_or_default()
    )
}

/// The words of a notice: the sidecar listens there, and has announced no port, or not on the port that it was given.
pub(crate) fn unannounced(places: &[SocketAddr], given: Option<NonZeroU16>) -> String {
    let places = start::listed(places);
    match given {
        Some(port) => format!(
            "it listens on {places}, but not yet on port {port}, which it was given: {}",
            start::TAKE_PORT
        ),
        None => {
            let how = start::how_to_announce(start::UNCHANGED);
            format!("it listens on {places}, but has announced no port yet: {how}")
        }
    }
}

/// The words of a notice: the sidecar is near its memory limit.
pub(crate) fn memory_near_limit(MemoryUse { used, limit }: MemoryUse) -> String {
    format!(
        "its processes together use {} of memory, and it is stopped when they use {} (`maxMemory`)",
        bytes(used),
        bytes(limit)
    )
}

fn use_of(state: &Lifecycle) -> &'static str {
    if state.starts_on_use() { "nothing used it" } else { "it was in use" }
}

fn ended(exit: Option<Exit>) -> String {
    exit.map_or_else(|| "ended".to_owned(), |exit| exit.to_string())
}

fn out_of_memory(diagnostics: &StartDiagnostics) -> String {
    diagnostics.out_of_memory.as_ref().map(|sentence| format!("; {sentence}")).unwrap_or_default()
}

/// What became of the processes that a starter left behind it.
fn left(diagnostics: &StartDiagnostics) -> String {
    if diagnostics.left.is_empty() {
        return String::new();
    }
    format!(
        "; processes that it had started ({}) still ran and were stopped with it: if one of them is the server, start it \
         directly, or let the starter wait for it",
        diagnostics.left.join("; ")
    )
}

/// Where a request is sent.
fn place(addr: ListenAddr) -> String {
    match addr.port() {
        Some(port) => format!("127.0.0.1:{port}"),
        None => "its local socket".to_owned(),
    }
}
