//! Ways for an app to die.

use rustix::process::Signal;

/// A way to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// By its own doing; the word is what [`doomed`](crate::doomed) calls it.
    Own(&'static str),
    /// By a signal from outside.
    Signal(Signal),
    /// By a signal to its whole process group.
    Group(Signal),
    /// By Ctrl-C, typed at its terminal.
    CtrlC,
    /// By the end of its terminal.
    Terminal,
    /// Not the app dies, but the guard.
    Guard,
    /// The guard and the app are killed, without a chance for one to see the other's end.
    GuardAndHost,
    /// The guard is stopped (SIGSTOP), and the app stops its sidecar.
    StoppedGuard,
    /// The guard is stopped, and the app is killed.
    HostOfStoppedGuard,
}

impl Death {
    /// Every one that leaves the guard alone.
    pub const OF_THE_APP: [Self; 19] = [
        Self::Own("stop"),
        Self::Own("drop"),
        Self::Own("leak"),
        Self::Own("exit"),
        Self::Own("abort"),
        Self::Own("segv"),
        Self::Own("overflow"),
        Self::Own("panic-main"),
        Self::Own("panic-thread"),
        Self::Signal(Signal::TERM),
        Self::Signal(Signal::INT),
        Self::Signal(Signal::HUP),
        Self::Signal(Signal::QUIT),
        Self::Signal(Signal::KILL),
        Self::Signal(Signal::SEGV),
        Self::Group(Signal::INT),
        Self::Group(Signal::KILL),
        Self::CtrlC,
        Self::Terminal,
    ];

    /// It gives up waiting for its sidecar, which has to be one that is starting.
    pub const TIME_OUT: Self = Self::Own("time-out");

    /// What the host does by itself.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Own(word) => word,
            Self::StoppedGuard => "stop",
            _ => "park",
        }
    }

    /// Whether it needs a terminal of its own.
    pub(super) fn needs_terminal(self) -> bool {
        matches!(self, Self::CtrlC | Self::Terminal)
    }

    /// Whether the sidecar is asked to end before it is killed: not where the guard is taken away.
    #[must_use]
    pub fn asks(self) -> bool {
        !matches!(self, Self::Guard | Self::GuardAndHost)
    }
}
