//! What to run, and within which limits.

use std::{collections::BTreeMap, ffi::OsString, num::NonZeroU16, path::PathBuf, time::Duration};

use pillion_protocol::health;

use crate::secret::{HealthPath, Secret};

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
    pub(crate) health_path: HealthPath,
    pub(crate) ready_timeout: Duration,
    pub(crate) grace: Duration,
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
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) allowed_origins: Vec<String>,
    /// Where the token of each start is left; the same place as the health path's.
    pub(crate) secret: Option<Secret>,
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
                env: BTreeMap::new(),
                current_dir: None,
                allowed_origins: Vec::new(),
                secret: None,
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
            health_path: HealthPath { path: health::DEFAULT_PATH.to_owned(), secret: None },
            ready_timeout: Self::DEFAULT_READY_TIMEOUT,
            grace: Self::DEFAULT_GRACE,
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

    /// Sets an environment variable on top of the inherited ones.
    ///
    /// `PORT` and `PILLION_TOKEN` are not inherited, because they were meant for another program: set `PORT` here to ask
    /// for a port. Does nothing to an attached server.
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

    /// Whether the sidecar is to answer nobody but the app: each start gives it a fresh token in `PILLION_TOKEN`, it has to
    /// prove that it holds it before it counts as ready, and [`Supervisor::token`](crate::Supervisor::token) is the key.
    /// For sidecars that keep rule 5 of the protocol, such as those on `pillion-server`; others are never ready. Not by
    /// default, for as long as pages have no way to the token. Does nothing to an attached server.
    #[must_use]
    pub fn private(mut self, private: bool) -> Self {
        if let Launch::Run(run) = &mut self.launch {
            run.secret = private.then(Secret::default);
            self.health_path.secret.clone_from(&run.secret);
        }
        self
    }

    /// The secret's place, where the sidecar is [private](Self::private).
    pub(crate) fn secret(&self) -> Option<Secret> {
        self.health_path.secret.clone()
    }

    /// The path whose 2xx answer means ready; `/health` by default.
    #[must_use]
    pub fn health_path(mut self, path: impl Into<String>) -> Self {
        self.health_path.path = path.into();
        self
    }

    /// How long a start may take before the process is killed, announcement and health together.
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

    fn with_run(mut self, change: impl FnOnce(&mut Run)) -> Self {
        if let Launch::Run(run) = &mut self.launch {
            change(run);
        }
        self
    }
}
