//! The ways in which an app dies.

use rustix::process::Signal;

/// A way to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The app ends itself; the word is the name of that death in [`dying_host`](crate::dying_host).
    SelfInflicted(&'static str),
    /// The app receives a signal.
    Signal(Signal),
    /// The whole process group of the app receives a signal.
    Group(Signal),
    /// A person types Ctrl-C in the terminal of the app.
    CtrlC,
    /// The terminal of the app is closed.
    TerminalClosed,
    /// The guard is killed, and the app lives on.
    GuardKilled,
    /// The guard and the app are killed. Neither of them can react to the end of the other.
    GuardAndHostKilled,
    /// The guard is frozen (SIGSTOP), and the app stops its sidecar.
    GuardStopped,
    /// The guard is frozen (SIGSTOP), and the app is killed.
    HostKilledGuardStopped,
}

impl Death {
    /// All deaths of the app that do not touch the guard.
    pub const OF_THE_APP: [Self; 19] = [
        Self::SelfInflicted("stop"),
        Self::SelfInflicted("drop"),
        Self::SelfInflicted("leak"),
        Self::SelfInflicted("exit"),
        Self::SelfInflicted("abort"),
        Self::SelfInflicted("segv"),
        Self::SelfInflicted("overflow"),
        Self::SelfInflicted("panic-main"),
        Self::SelfInflicted("panic-thread"),
        Self::Signal(Signal::TERM),
        Self::Signal(Signal::INT),
        Self::Signal(Signal::HUP),
        Self::Signal(Signal::QUIT),
        Self::Signal(Signal::KILL),
        Self::Signal(Signal::SEGV),
        Self::Group(Signal::INT),
        Self::Group(Signal::KILL),
        Self::CtrlC,
        Self::TerminalClosed,
    ];

    /// The app gives up because its sidecar does not become ready in time. The sidecar must still be starting.
    pub const TIME_OUT: Self = Self::SelfInflicted("time-out");

    /// The name of what the host does itself.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::SelfInflicted(word) => word,
            Self::GuardStopped => "stop",
            _ => "park",
        }
    }

    /// Whether the app needs a terminal of its own.
    pub(super) fn needs_terminal(self) -> bool {
        matches!(self, Self::CtrlC | Self::TerminalClosed)
    }

    /// Whether the sidecar is asked to stop before it is killed. Only the guard's death prevents that.
    #[must_use]
    pub fn asks_sidecar_to_stop(self) -> bool {
        !matches!(self, Self::GuardKilled | Self::GuardAndHostKilled)
    }
}
