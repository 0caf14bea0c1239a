//! What to run, and within which limits.

use std::{collections::BTreeMap, ffi::OsString, num::NonZeroU16, path::PathBuf, time::Duration};

use pillion_protocol::health;
use serde::Deserialize;

use crate::spawn::environment::Inherit;

/// Describes one sidecar. Construct it with [`Spec::run`] or [`Spec::attach`], then adjust what differs.
///
/// ```
/// use std::time::Duration;
/// let spec = pillion::Spec::run("backend", "./backend").arg("--verbose").grace(Duration::from_secs(3));
/// ```
#[derive(Debug, Clone)]
pub struct Spec {
    pub(crate) name: String,
    pub(crate) launch: Launch,
    pub(crate) health_path: String,
    pub(crate) ready_timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) restart: Restart,
    pub(crate) restart_limit: RestartLimit,
    pub(crate) liveness: Option<Liveness>,
    pub(crate) depends_on: Vec<String>,
    pub(crate) optional: bool,
}

/// Which ends of a sidecar make the supervisor start it again. A requested stop never does, and neither does a first
/// start that fails: that is reported at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Restart {
    /// None.
    Never,
    /// A crash, and a sidecar that hangs.
    #[default]
    OnFailure,
    /// Those, and an exit with code 0.
    Always,
}

/// By which way requests reach a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Transport {
    /// A port of 127.0.0.1.
    #[default]
    Tcp,
    /// A Unix domain socket, on Windows a named pipe, and no port at all.
    Local,
}

/// How often a sidecar may be restarted before it is given up, and is failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartLimit {
    /// So many restarts are made, and no more, …
    pub limit: u32,
    /// … within any span of this length. Being up for as long makes the next restart immediate again.
    pub window: Duration,
}

impl Default for RestartLimit {
    /// 4 in 60 s.
    fn default() -> Self {
        Self { limit: 4, window: Duration::from_secs(60) }
    }
}

/// How a ready sidecar is watched: it is asked for its health at regular intervals.
///
/// An answer counts however late it comes, and any answer over HTTP counts, so that a sidecar under load is not taken
/// for one that hangs. When this program itself did not run for a while (the computer slept, a debugger held it),
/// the count starts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Liveness {
    /// How long after one question the next one follows.
    pub interval: Duration,
    /// With so many questions unanswered, when the next one is due, the sidecar hangs. 0 counts as 1.
    pub tolerance: u32,
}

impl Default for Liveness {
    /// Every 10 s, 3 questions: a sidecar hangs when it has answered nothing for 30 s.
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), tolerance: 3 }
    }
}

/// Where the server comes from.
#[derive(Debug, Clone)]
pub(crate) enum Launch {
    /// A program that the supervisor starts, owns and stops.
    Run(Run),
    /// A server that somebody else started: probed and used, never stopped.
    Attach(NonZeroU16),
}

/// A program, as [`std::process::Command`] takes it.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) inherit: Inherit,
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) handover: bool,
    pub(crate) transport: Transport,
    pub(crate) private: bool,
}

impl Spec {
    /// How long a start may take by default, from spawn to the first healthy answer: a first run under a virus
    /// scanner has been seen to take 45 s.
    pub const DEFAULT_READY_TIMEOUT: Duration = Duration::from_secs(60);
    /// How long a sidecar has by default to end by itself once it was asked to.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

    /// A sidecar that is started by running `program`.
    ///
    /// `name` is what messages call it. `program` is looked up in `PATH` when it is a bare name.
    #[must_use]
    pub fn run(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self::new(
            name.into(),
            Launch::Run(Run {
                program: program.into(),
                args: Vec::new(),
                inherit: Inherit::default(),
                env: BTreeMap::new(),
                current_dir: None,
                allowed_origins: Vec::new(),
                handover: false,
                transport: Transport::default(),
                private: false,
            }),
        )
    }

    /// A server that a developer started on `port` of 127.0.0.1. It is never signalled, whatever happens.
    #[must_use]
    pub fn attach(name: impl Into<String>, port: NonZeroU16) -> Self {
        Self::new(name.into(), Launch::Attach(port))
    }

    fn new(name: String, launch: Launch) -> Self {
        Self {
            name,
            launch,
            health_path: health::DEFAULT_PATH.to_owned(),
            ready_timeout: Self::DEFAULT_READY_TIMEOUT,
            grace: Self::DEFAULT_GRACE,
            restart: Restart::default(),
            restart_limit: RestartLimit::default(),
            liveness: Some(Liveness::default()),
            depends_on: Vec::new(),
            optional: false,
        }
    }

    /// Adds an argument. Does nothing to an attached server.
    #[must_use]
    pub fn arg(self, arg: impl Into<OsString>) -> Self {
        self.args([arg])
    }

    /// Adds arguments. Does nothing to an attached server.
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.with_run(|run| run.args.extend(args.into_iter().map(Into::into)))
    }

    /// Which of this program's environment variables it inherits, besides what [`env`](Self::env) sets; all but those that are
    /// rarely meant by default. They are read anew at each start. Does nothing to an attached server.
    #[must_use]
    pub fn inherit(self, inherit: Inherit) -> Self {
        self.with_run(|run| run.inherit = inherit)
    }

    /// Sets an environment variable, in the place of an inherited one where there is one.
    ///
    /// `PORT` is never inherited, because it was meant for another program: set it here to ask for a port. Does nothing to
    /// an attached server.
    #[must_use]
    pub fn env(self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.with_run(|run| {
            run.env.insert(name.into(), value.into());
        })
    }

    /// The directory to start in; the supervisor's own by default. Does nothing to an attached server.
    #[must_use]
    pub fn current_dir(self, dir: impl Into<PathBuf>) -> Self {
        self.with_run(|run| run.current_dir = Some(dir.into()))
    }

    /// Origins whose pages may call the sidecar, told to it in `PILLION_ALLOWED_ORIGINS`. Does nothing to an attached
    /// server.
    #[must_use]
    pub fn allowed_origins(self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with_run(|run| run.allowed_origins = origins.into_iter().map(Into::into).collect())
    }

    /// Whether to bind the listener here and hand it to each run, by systemd's convention (`LISTEN_FDS`, `LISTEN_PID`,
    /// descriptor 3). The port then stays the same across crashes and restarts, and whoever connects in between waits
    /// instead of being refused. The sidecar announces as ever; one that announces another port did not take the
    /// listener, and is used as it is.
    ///
    /// Linux and macOS, under a guard; elsewhere the sidecar finds a port by itself. Does nothing to an attached server.
    #[must_use]
    pub fn handover(self, handover: bool) -> Self {
        self.with_run(|run| run.handover = handover)
    }

    /// Over [`Transport::Local`] the listener that is handed over (as by [`handover`](Self::handover), which this implies) is a
    /// Unix domain socket: nothing listens on any port, and other users cannot connect. The address is
    /// `pillion://localhost`; requests go by way of
    /// [`Access::connect`](crate::Access::connect). For sidecars on
    /// `pillion-server`, and others that take such a listener and announce `BACKEND_SOCKET:3`; one that announces a port did
    /// not take it, and is used as it is, with a notice.
    ///
    /// On Linux and macOS, under a guard; without one the sidecar finds a port by itself. On Windows it is a named pipe, which
    /// the sidecar creates under the name in `PILLION_PIPE` and announces by `BACKEND_SOCKET:pipe`: another one in each run, so
    /// that who connects during a restart is refused. Does nothing to an attached server.
    #[must_use]
    pub fn transport(self, transport: Transport) -> Self {
        self.with_run(|run| run.transport = transport)
    }

    /// Whether the sidecar is to answer nobody but the app: each start gives it a fresh token in `PILLION_TOKEN`, it has to
    /// prove that it holds it before it counts as ready, and [`Supervisor::token`](crate::Supervisor::token) is the key.
    /// For sidecars that keep rule 5 of the protocol, such as those on `pillion-server`; others fail to start. Not by
    /// default here, where the announcement alone makes any program a sidecar; `tauri-plugin-pillion` asks for it unless
    /// it is told otherwise. Does nothing to an attached server.
    #[must_use]
    pub fn private(self, private: bool) -> Self {
        self.with_run(|run| run.private = private)
    }

    /// The path whose 2xx answer means ready; `/health` by default. A private sidecar proves that it holds the token at
    /// `/health` all the same, and is then asked this path with the token.
    #[must_use]
    pub fn health_path(mut self, path: impl Into<String>) -> Self {
        self.health_path = path.into();
        self
    }

    /// How long a start may take, announcement and health together, before the process is stopped.
    #[must_use]
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.ready_timeout = timeout;
        self
    }

    /// How long the process has, once asked to stop, before it is killed.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Which ends make the supervisor start it again; [`Restart::OnFailure`] by default. An attached server is never
    /// restarted.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How often it may be restarted.
    #[must_use]
    pub fn restart_limit(mut self, restart_limit: RestartLimit) -> Self {
        self.restart_limit = restart_limit;
        self
    }

    /// How it is watched once it is ready; `None` is not at all, but for its exit.
    #[must_use]
    pub fn liveness(mut self, liveness: impl Into<Option<Liveness>>) -> Self {
        self.liveness = liveness.into();
        self
    }

    /// The sidecars of the same [`Fleet`](crate::Fleet) that have to be ready before this one is started, and that are
    /// stopped after it. Means nothing to a sidecar that is started by itself.
    #[must_use]
    pub fn depends_on(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.depends_on = names.into_iter().map(Into::into).collect();
        self
    }

    /// Whether those that depend on it start without it when it has failed. They wait for it by default.
    #[must_use]
    pub fn optional(mut self, optional: bool) -> Self {
        self.optional = optional;
        self
    }

    fn with_run(mut self, change: impl FnOnce(&mut Run)) -> Self {
        if let Launch::Run(run) = &mut self.launch {
            change(run);
        }
        self
    }
}
