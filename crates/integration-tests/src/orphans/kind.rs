//! Sidecars that are hard to be rid of.

/// A kind of sidecar. Each tells the test `up` once for each process of it, before the sidecar announces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ends by itself when it is asked to.
    Cooperative,
    /// Ignores SIGTERM and the end of stdin.
    Deaf,
    /// Cooperates, but for a child in its group that is deaf.
    DeafGrandchild,
    /// A shell that waits for the real server.
    Wrapper,
    /// Cooperates, but has started a deaf daemon: two forks, a session of its own, the sidecar's stdout kept open.
    Daemon,
    /// Starts processes all the time: one that hops from session to session, and many more once it is asked to end.
    ForkStorm,
    /// Cooperates, but is stopped (SIGSTOP) when the app dies.
    Stopped,
    /// Adopts its daemons itself, and is deaf.
    Subreaper,
    /// Has ended, while a deaf child lives on in its group.
    LeaderGone,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 9] = [
        Self::Cooperative,
        Self::Deaf,
        Self::DeafGrandchild,
        Self::Wrapper,
        Self::Daemon,
        Self::ForkStorm,
        Self::Stopped,
        Self::Subreaper,
        Self::LeaderGone,
    ];

    /// How many processes tell `up`.
    pub(super) fn ups(self) -> usize {
        match self {
            Self::Cooperative | Self::Deaf | Self::Wrapper | Self::Stopped => 1,
            Self::DeafGrandchild | Self::Daemon | Self::ForkStorm | Self::Subreaper | Self::LeaderGone => 2,
        }
    }

    /// Whether it ends by itself, and tells the test `bye` when it does.
    #[must_use]
    pub fn says_goodbye(self) -> bool {
        match self {
            Self::Cooperative | Self::DeafGrandchild | Self::Wrapper | Self::Daemon | Self::Stopped => true,
            Self::Deaf | Self::ForkStorm | Self::Subreaper | Self::LeaderGone => false,
        }
    }

    /// Whether nothing is left of it once its first process is dead.
    #[must_use]
    pub fn is_one_process(self) -> bool {
        matches!(self, Self::Cooperative | Self::Deaf | Self::Stopped)
    }

    /// Its command line. One that never announces itself stays in its start.
    pub(super) fn command(self, sidecar: &str, port: u16, announces: bool, hops: u32) -> Vec<String> {
        let announce = if announces { "announce" } else { "" };
        let up = format!("tell {port} up");
        let server = format!("listen ok {up} {announce}");
        let obey = format!("term tell {port} bye exit 0");
        let steps = match self {
            Self::Cooperative | Self::Stopped => format!("{server} {obey}"),
            Self::Deaf => format!("deaf {server} park"),
            Self::DeafGrandchild => format!("fork deaf {up} park ; {server} {obey}"),
            Self::Wrapper => {
                // It waits for the server, because there is something left to do after it.
                let script = format!(r#""$0" {server} {obey}; exit 1"#);
                return ["sh", "-c", &script, sidecar].map(str::to_owned).into();
            }
            Self::Daemon => format!("daemon deaf {up} park ; {server} {obey}"),
            Self::ForkStorm => format!("fork {up} hop {hops} ; {server} term storm 300 park"),
            Self::Subreaper => format!("subreaper deaf daemon deaf {up} park ; {server} park"),
            Self::LeaderGone => format!("fork deaf {up} park ; {server} hear exit 0"),
        };
        [sidecar].into_iter().chain(steps.split_ascii_whitespace()).map(str::to_owned).collect()
    }
}
