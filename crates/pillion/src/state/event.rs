//! What the state machine receives, and what it returns.

use std::{num::NonZeroU16, time::Duration};

use pillion_protocol::ListenAddr;

use crate::{spec::ReadyCheck, status::Exit};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A start was requested; a running sidecar is stopped first.
    Restart,
    /// A stop with a grace period was requested, by this part of the program.
    Stop(Requester),
    /// An immediate stop was requested.
    Kill,
    /// A use of a sidecar that runs on demand began.
    Used,
    /// The last use of a sidecar that runs on demand ended.
    Unused,
    /// All dependencies are ready.
    DependenciesReady,
    /// A dependency has failed, for this reason.
    DependencyFailed(String),
    /// The dependency of this name, with which the sidecar is restarted, is being restarted or was.
    DependencyRestarted(String),
    /// The process runs, and must do this before it is ready.
    Launched(Awaits),
    /// Another program started the server at this address: the supervisor owns no process.
    Attached(ListenAddr),
    /// The process could not be started.
    NotLaunched(String),
    /// The process was not started: the program is not the one that the declaration expects.
    WrongProgram(String),
    /// The process runs, and is not the one that the declaration expects.
    Mismatch(String),
    /// The sidecar wrote a valid announcement.
    Announced(ListenAddr),
    /// Nothing accepts connections at the present address any more, and the sidecar has announced this one since.
    Moved(ListenAddr),
    /// The sidecar says that its start goes on and needs more time: this long from now, or as long as a start may take.
    Extend(Option<Duration>),
    /// The ready check has passed, or a health request succeeded.
    Healthy,
    /// A health request failed, or its answer is overdue.
    Unhealthy,
    /// It has not answered, or not told that it works, for longer than the declared tolerance; or it says that it hangs.
    Hung,
    /// Its processes use more memory than its declaration allows.
    MemoryExceeded,
    /// The state's timer ran out.
    Expired,
    /// The leader of the process group is dead.
    Exited(Exit),
    /// No process of the group is left.
    Gone,
}

/// Who wants a run to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requester {
    /// A caller of `stop`.
    Stop,
    /// A caller of `kill`.
    Kill,
    /// A caller of `restart`.
    Restart,
    /// A new run has replaced it.
    Swap,
    /// The swap for which it was started was cancelled.
    CancelledSwap,
    /// The app installs an update.
    Update,
    /// The app ends.
    AppEnd,
}

/// What a launched sidecar must do before it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// Announce its address, and pass its check there.
    Announcement,
    /// Pass its check. The address is `None` if none is known yet and the check needs none.
    Check(Option<ListenAddr>),
    /// Nothing.
    Nothing(Option<ListenAddr>),
}

impl Awaits {
    /// What this check demands of a sidecar that has received this port.
    pub(crate) fn of(check: &ReadyCheck, port: Option<NonZeroU16>) -> Self {
        let addr = port.map(ListenAddr::Tcp);
        match check {
            ReadyCheck::Started => Self::Nothing(addr),
            ReadyCheck::Health | ReadyCheck::Http(_) | ReadyCheck::Tcp if addr.is_none() => {
                Self::Announcement
            }
            ReadyCheck::Health
            | ReadyCheck::Http(_)
            | ReadyCheck::Tcp
            | ReadyCheck::Line(_)
            | ReadyCheck::Exec(_)
            | ReadyCheck::Notify => Self::Check(addr),
        }
    }
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Watch the dependencies; answer with `DependenciesReady`, and with `DependencyFailed` for each failure.
    Wait,
    /// Start the process; answer with `Launched`, `Attached` or `NotLaunched`.
    Launch,
    /// Check whether the sidecar is ready, at this address if it has one, until the check passes; then answer with `Healthy`.
    Check(Option<ListenAddr>),
    /// Let the timer of the start run longer, within the declared maximum: this long from now, or as long as a start may take.
    Extend(Option<Duration>),
    /// Ask the leader to end, as its program declares (by default end of stdin and SIGTERM). Without a process to own, answer with
    /// `Gone`.
    TerminateLeader,
    /// Ask every process of the group that was not asked yet. Without a process to own, answer with `Gone`.
    TerminateGroup,
    /// Kill the group. Without a process to own, answer with `Gone`.
    Kill,
    /// The killed group has not ended: kill its guard, which may be unable to run, and then the group by other ways.
    Sweep,
    /// The leader is dead: watch the rest of its group; answer with `Gone`.
    WatchGroup,
}

/// The one timer of a state. The specification says how long it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Until the sidecar must be ready.
    Ready,
    /// Until the rest of the group is asked to end: half of the grace period after this time.
    LeaderGrace { asked_at: Duration },
    /// Until the group is killed: the grace period after this time.
    Grace { asked_at: Duration },
    /// Until a killed group that has not ended is swept.
    Kill,
    /// Until the supervisor abandons a swept group that has not ended.
    Sweep,
    /// Until the next start.
    BackOff(Duration),
    /// Until an unused sidecar is stopped: the declared time without a use after this time.
    Idle { since: Duration },
}
