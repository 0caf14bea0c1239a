//! What to run, and the policies for it.

mod expected_version;
mod inherit;
mod invalid;
mod listen;
mod liveness;
mod log_files;
mod placeholder;
mod program;
mod ready;
mod restart;
mod stop;

use std::{num::NonZeroU16, path::PathBuf, time::Duration};

use pillion_protocol::{defaults, health};

pub use inherit::Inherit;
pub use invalid::InvalidSpec;
pub use listen::Listen;
pub use liveness::Liveness;
pub use log_files::LogFiles;
pub use placeholder::InvalidPlaceholder;
pub(crate) use placeholder::{DependencyAddress, Values};
pub use program::{Program, ProgramStdin, Transport};
pub(crate) use ready::LineMatch;
pub use ready::{ExecCheck, HttpCheck, InvalidExpression, LineCheck, ReadyCheck};
pub use restart::{Restart, RestartLimit};
pub use stop::{HttpStopRequest, InvalidStopRequest, StopRequest, StopScope, StopSignal};

/// Describes one sidecar. Construct it with [`Spec::run`] or [`Spec::attach`], then change what differs from the defaults.
///
/// ```
/// use std::time::Duration;
/// use pillion::{Program, Spec};
///
/// let backend = Spec::run("backend", Program::new("./backend").arg("--verbose"))
///     .grace(Duration::from_secs(3))
///     .depends_on(["database"]);
/// let database = Spec::run("database", "./database");
/// ```
#[derive(Debug, Clone)]
pub struct Spec {
    pub(crate) name: String,
    pub(crate) source: ServerSource,
    pub(crate) ready_check: ReadyCheck,
    pub(crate) health_path: String,
    pub(crate) ready_timeout: Duration,
    pub(crate) ready_timeout_max: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) restart: Restart,
    pub(crate) restart_limit: RestartLimit,
    pub(crate) liveness: Option<Liveness>,
    pub(crate) watchdog: Option<Duration>,
    pub(crate) max_memory: Option<u64>,
    pub(crate) depends_on: Vec<String>,
    pub(crate) restart_with: Vec<String>,
    pub(crate) optional: bool,
    pub(crate) on_demand: bool,
    pub(crate) idle_stop: Option<Duration>,
    pub(crate) expects: Option<String>,
    pub(crate) exit_reports: Option<PathBuf>,
    pub(crate) log_files: Option<LogFiles>,
}

/// Where the server comes from.
#[expect(clippy::large_enum_variant, reason = "there is one for each sidecar, and it is seldom moved")]
#[derive(Debug, Clone)]
pub(crate) enum ServerSource {
    /// The supervisor starts this program, owns it and stops it.
    Run(Program),
    /// Something else started the server, on this port of 127.0.0.1. The supervisor probes it, and never stops it.
    Attach(NonZeroU16),
}

impl Spec {
    /// The default limit for a start, from the spawn to the first healthy answer. A first run under a virus scanner has taken 45 s.
    pub const DEFAULT_READY_TIMEOUT: Duration = defaults::READY_TIMEOUT;
    /// The default grace period: how long a sidecar has to end by itself after it was asked to stop.
    pub const DEFAULT_GRACE: Duration = defaults::GRACE_PERIOD;

    /// A sidecar that the supervisor starts by running `program`: a path, or a [`Program`] with arguments and more. Messages call
    /// the sidecar `name`.
    #[must_use]
    pub fn run(name: impl Into<String>, program: impl Into<Program>) -> Self {
        Self::new(name.into(), ServerSource::Run(program.into()))
    }

    /// A server that already runs on `port` of 127.0.0.1, for example one that a developer started. The supervisor never signals
    /// it and never restarts it.
    #[must_use]
    pub fn attach(name: impl Into<String>, port: NonZeroU16) -> Self {
        Self::new(name.into(), ServerSource::Attach(port))
    }

    fn new(name: String, source: ServerSource) -> Self {
        Self {
            name,
            source,
            ready_check: ReadyCheck::default(),
            health_path: health::DEFAULT_PATH.to_owned(),
            ready_timeout: Self::DEFAULT_READY_TIMEOUT,
            ready_timeout_max: None,
            grace: Self::DEFAULT_GRACE,
            restart: Restart::default(),
            restart_limit: RestartLimit::default(),
            liveness: Some(Liveness::default()),
            watchdog: None,
            max_memory: None,
            depends_on: Vec::new(),
            restart_with: Vec::new(),
            optional: false,
            on_demand: false,
            idle_stop: None,
            expects: None,
            exit_reports: None,
            log_files: None,
        }
    }

    /// Replaces the program by a server that already runs on `port` of 127.0.0.1, as with [`attach`](Self::attach). The other
    /// settings stay.
    #[must_use]
    pub fn attached(mut self, port: NonZeroU16) -> Self {
        self.source = ServerSource::Attach(port);
        self
    }

    /// The name of the sidecar.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Changes the program with `change`. An attached server has none, and stays as it is.
    #[must_use]
    pub fn map_program(mut self, change: impl FnOnce(Program) -> Program) -> Self {
        self.source = match self.source {
            ServerSource::Run(program) => ServerSource::Run(change(program)),
            attach @ ServerSource::Attach(_) => attach,
        };
        self
    }

    /// Sets when the sidecar counts as ready; the default is [`ReadyCheck::Health`]. The check also decides whether the supervisor
    /// notices afterwards that the sidecar does not answer any more.
    #[must_use]
    pub fn ready_check(mut self, check: ReadyCheck) -> Self {
        self.ready_check = check;
        self
    }

    /// Sets the path that [`ReadyCheck::Health`] asks; the default is `/health`. Its 2xx answer means ready. A private sidecar proves at
    /// `/health` that it holds the token, whatever this path is; the supervisor then asks this path with the token.
    #[must_use]
    pub fn health_path(mut self, path: impl Into<String>) -> Self {
        self.health_path = path.into();
        self
    }

    /// Sets how long a start may take, announcement and health together. The supervisor stops a process that takes longer.
    #[must_use]
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.ready_timeout = timeout;
        self
    }

    /// Sets the longest time to which the sidecar may extend the limit for a start; by default it may not extend it. Each line of progress
    /// (`BACKEND_STATUS:loading model 42%` on stdout) gives the start another [`ready_timeout`](Self::ready_timeout) from that line on,
    /// but never more than `max` since its beginning. It never shortens the limit. `EXTEND_TIMEOUT_USEC` of `sd_notify(3)`
    /// extends the limit too.
    #[must_use]
    pub fn ready_timeout_max(mut self, max: impl Into<Option<Duration>>) -> Self {
        self.ready_timeout_max = max.into();
        self
    }

    /// Sets the grace period: how long the process has to end after it was asked to stop, before it is killed.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets which ends the supervisor answers with a restart; the default is [`Restart::OnFailure`].
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets how often the sidecar may be restarted.
    #[must_use]
    pub fn restart_limit(mut self, restart_limit: RestartLimit) -> Self {
        self.restart_limit = restart_limit;
        self
    }

    /// Sets how the liveness of a ready sidecar is checked. With `None` the supervisor notices only the exit of the process.
    #[must_use]
    pub fn liveness(mut self, liveness: impl Into<Option<Liveness>>) -> Self {
        self.liveness = liveness.into();
        self
    }

    /// Sets how often the sidecar must say that it works: by `WATCHDOG=1` to its `NOTIFY_SOCKET`, as services of systemd with
    /// `WatchdogSec` do ([`sd_watchdog_enabled(3)`](https://man7.org/linux/man-pages/man3/sd_watchdog_enabled.3.html)). The sidecar finds
    /// `interval` in `WATCHDOG_USEC`, and its process id in `WATCHDOG_PID`. The count begins when it is ready, and ends with
    /// `STOPPING=1`. A sidecar that sends nothing for `interval` counts as hung: it is stopped and restarted, unless
    /// [`Liveness::restart`] or the [policy](Self::restart) forbids it; then it is unhealthy until it sends `WATCHDOG=1` again. Needs
    /// [`ReadyCheck::Notify`]. By default there is no watchdog.
    ///
    /// `WATCHDOG_USEC=` in a message sets another interval for the rest of the run (0 ends the watch), and `WATCHDOG=trigger` counts as
    /// hung at once; both also without this setting.
    #[must_use]
    pub fn watchdog(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.watchdog = interval.into();
        self
    }

    /// Sets how much memory all processes of the sidecar may use together, in bytes, as [`Usage::memory`](crate::Usage::memory) counts it.
    /// By default they may use any. At 90 % the supervisor publishes a [notice](crate::SidecarEvent::Notice), once in a run. At the limit
    /// it stops the sidecar with its grace period, and restarts it as the [policy](Self::restart) says; the failure is
    /// [`FailureKind::MemoryLimit`](crate::FailureKind::MemoryLimit).
    ///
    /// The memory is measured every 5 s, and every second from 75 % on; the limit counts when two measurements in a row have reached it. It
    /// is a guard against a leak, and no quota of the system, which a sidecar that grows quickly can exceed meanwhile. If the system does not
    /// tell the memory, a notice says that the limit has no effect. An attached server is not measured.
    #[must_use]
    pub fn max_memory(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.max_memory = bytes.into();
        self
    }

    /// Sets the sidecars of the same [`Fleet`](crate::Fleet) that must be ready before this one starts, and that stop after it.
    /// [`Supervisor::start`](crate::Supervisor::start), which starts one sidecar alone, ignores it.
    #[must_use]
    pub fn depends_on(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.depends_on = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the dependencies whose restart also restarts this sidecar, as `rest_for_one` of Erlang's supervisors does
    /// (<https://www.erlang.org/doc/system/sup_princ.html#restart-strategy>). These sidecars are dependencies as those of
    /// [`depends_on`](Self::depends_on) are, which need not repeat them. [`Supervisor::start`](crate::Supervisor::start), which starts
    /// one sidecar alone, ignores them.
    ///
    /// A crash that is followed by a restart, a requested restart and a swap count; a stop alone does not. This sidecar is asked to
    /// stop as soon as the dependency goes down or is swapped, and starts when the dependency is ready, with the new values of its
    /// placeholders. This restart does not count towards the restart limit.
    #[must_use]
    pub fn restart_with(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.restart_with = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets whether dependents start without this sidecar when it has failed. By default they wait for it.
    #[must_use]
    pub fn optional(mut self, optional: bool) -> Self {
        self.optional = optional;
        self
    }

    /// Sets whether the sidecar runs on demand. It is then idle ([`State::Idle`](crate::State::Idle)) until its first use starts it. If it
    /// crashes, hangs or exits while nothing uses it, it is idle again instead of restarted. The default is `false`: it starts at once.
    ///
    /// These are uses: [`Supervisor::ready`](crate::Supervisor::ready) and [`access`](crate::Supervisor::access) until they return, a
    /// [lease](crate::Supervisor::lease) until it is dropped, and a dependent sidecar that is not down. After a requested stop, only a
    /// restart starts the sidecar. A swap to another specification does not change when the sidecar runs.
    #[must_use]
    pub fn on_demand(mut self, on_demand: bool) -> Self {
        self.on_demand = on_demand;
        self
    }

    /// Sets how long a sidecar that runs [on demand](Self::on_demand) may be ready without a use. It is then stopped with its grace
    /// period, and a use during the stop waits for the next run. Without this setting it runs until it is stopped.
    ///
    /// Requests that are sent without a [lease](crate::Supervisor::lease) are not known to the supervisor: those that the sidecar answers
    /// when it is stopped have the grace period.
    #[must_use]
    pub fn idle_stop(mut self, after: Duration) -> Self {
        self.idle_stop = Some(after);
        self
    }

    /// The names of the sidecars that must be ready before this one starts, each once.
    pub(crate) fn dependencies(&self) -> impl Iterator<Item = &String> {
        let others = self.restart_with.iter().enumerate().filter(|(index, name)| {
            !self.depends_on.contains(name) && !self.restart_with[..*index].contains(name)
        });
        self.depends_on.iter().chain(others.map(|(_, name)| name))
    }

    /// Sets which versions of the sidecar fit, as a requirement of Cargo's form, such as `^1.2`
    /// ([`semver`](https://docs.rs/semver/1/semver/struct.VersionReq.html)). The `version` in its health answer must match; another one, and none, ends the
    /// start with [`FailureKind::Mismatch`](crate::FailureKind::Mismatch), and it is not started again. Needs [`ReadyCheck::Health`].
    #[must_use]
    pub fn expects(mut self, requirement: impl Into<String>) -> Self {
        self.expects = Some(requirement.into());
        self
    }

    /// Keeps the last 20 [exit reports](crate::ExitReport) of the sidecar as files in `folder`, which is created if it is missing, in a
    /// folder of the sidecar's name. Only the user can read them (Unix; on Windows the folder decides). By default they are kept only
    /// in memory.
    ///
    /// The files are read at the next start, and tell what this program did not live to see: while a run goes on, its file is locked by
    /// this program and by the guard, which notes the end after the death of this program. Several programs, such as two copies of an
    /// app, may use the same folder. If a file cannot be written, the supervisor publishes a notice, and the sidecar goes on.
    ///
    /// A report holds the last lines of output. A sidecar that prints secrets prints them into these files.
    #[must_use]
    pub fn keep_exit_reports(mut self, folder: impl Into<PathBuf>) -> Self {
        self.exit_reports = Some(folder.into());
        self
    }

    /// Keeps the output of the sidecar as files. By default none are written. The supervisor writes each line with its time, run, stream
    /// and level, and never writes the token. A disk that is slower than the sidecar makes the sidecar wait; one that refuses to write, or
    /// that hangs, costs lines, which are counted: [`SidecarEvent::Notice`](crate::SidecarEvent::Notice) tells it. An attached server has
    /// no output. A swap to another specification keeps these files.
    #[must_use]
    pub fn log_files(mut self, files: LogFiles) -> Self {
        self.log_files = Some(files);
        self
    }

    /// The check of this sidecar. An attached server has no output and no launch, and another program gave it its environment.
    pub(crate) fn effective_check(&self) -> &ReadyCheck {
        match &self.source {
            ServerSource::Attach(_) if !self.ready_check.needs_address() => &ReadyCheck::Tcp,
            ServerSource::Attach(_) | ServerSource::Run(_) => &self.ready_check,
        }
    }
}
