//! The section `plugins.pillion` of `tauri.conf.json`.

mod apply;
mod control;
mod dev;
mod error;
mod liveness;
mod log;
mod memory_size;
mod package;
mod port;
mod ready;
mod restart_limit;
mod source;
mod suggestion;
mod terminal;

use std::{collections::BTreeMap, num::NonZeroU64, path::PathBuf, time::Duration};

use pillion::{Inherit, LogFiles, ReadyCheck, Restart, StopRequest, Transport};
use serde::{Deserialize, Deserializer, de};

use self::{
    liveness::LivenessConfig, log::LogConfig, memory_size::MemorySize, port::PortConfig, ready::ReadyConfig,
    restart_limit::RestartLimitConfig,
};
pub use control::ControlConfig;
pub use dev::{DevConfig, OnChange};
pub use error::ConfigError;
pub use package::{PackageConfig, PackageTool};
pub use source::ProgramSource;
pub use terminal::TerminalConfig;

/// The section `plugins.pillion` of `tauri.conf.json`: the sidecars by name.
///
/// ```json
/// { "plugins": { "pillion": { "sidecars": {
///   "backend": { "handover": true, "dependsOn": ["database"] },
///   "database": { "program": "db", "args": ["--memory"], "graceMs": 10000 } } } } }
/// ```
///
/// Every field of a declaration is optional. `docs/configuration.md` in the repository describes them all. To let your editor
/// complete and check them, set `"$schema"` in `tauri.conf.json` to the path of `schemas/tauri.conf.schema.json` in the npm package
/// `tauri-plugin-pillion-api`. An invalid declaration aborts the start of the app with an error that names the field by its path.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(remote = "Self", rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The sidecars by name.
    pub sidecars: BTreeMap<String, SidecarConfig>,
    /// What other programs of the same user may do while the app runs: `"read"` (the default) lets the commands that only look, such as
    /// `pillion ps`, `top` and `logs`, see states and output of the sidecars, `"full"` lets `pillion restart` restart them as well, and
    /// `false` opens no socket for them. `docs/control.md` says who can use it.
    #[serde(default)]
    pub control: ControlConfig,
    /// Whether the app shows the output of its sidecars, and what happens to them, on its stderr: `"auto"` (the default) in debug builds, as
    /// `tauri dev` makes them, `true` in every build, `false` in none. `docs/logs.md` has an example.
    #[serde(default)]
    pub terminal: TerminalConfig,
}

/// The declaration of one sidecar. Every field is optional.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct SidecarConfig {
    /// The file name of the program, which Tauri installs beside the app's own: the last part of its `bundle.externalBin` entry,
    /// without target triple and `.exe`. The default is the sidecar's name.
    pub program: Option<String>,
    /// Instead of `program`: a file of the bundle's resources, by its path in the resource folder. On Windows, `.exe` may be left
    /// out. For programs that need files beside them, such as the folder that PyInstaller makes.
    pub resource: Option<String>,
    /// Instead of `program`: a program of the system, by its path or by a name that is looked up in `PATH`.
    pub command: Option<String>,
    /// The SHA-256 of the program's file, in 64 hexadecimal digits, as `sha256sum` prints them. A file with another one is not
    /// started, and the failure names both. Not for a `command` without a path, and not checked in `tauri dev`. Because a build
    /// makes the file, write it at build time: `tauri build --config` merges
    /// `{"plugins":{"pillion":{"sidecars":{"backend":{"sha256":"…"}}}}}` into the configuration. Take the digest of the file as it is
    /// installed: after it is signed, which changes it.
    sha256: Option<String>,
    /// The versions of the sidecar that fit this app, as a requirement of Cargo's form, such as `"^1.2"`. The `version` in its health
    /// answer must match. With another version, or none, the start fails for good. Needs `"ready": "health"`.
    expects: Option<String>,
    /// The arguments of the program. In them, in the values of `env`, and in the command of an `exec` check, `${port}` stands for the
    /// port of the sidecar (with `"port": "assigned"` or a number), `${sidecar.NAME.port}` and `${sidecar.NAME.url}` for where a sidecar
    /// in `dependsOn` or `restartWith` listens, and `$$` for a dollar sign. `$APPDATA`, `$APPLOCALDATA`, `$APPCONFIG`, `$APPCACHE`, `$APPLOG`,
    /// `$RESOURCE`, `$TEMP` and `$HOME` stand for the folders of that name, without a separator at the end; also in `command`, `cwd`,
    /// `dev`, and the command of an `exec` check. A folder of the app that is named and missing is created, and only its user can open it (Unix).
    #[serde(default)]
    args: Vec<String>,
    /// The working directory; the app's own by default. In a folder of the app, it is created if it is missing.
    cwd: Option<String>,
    /// The environment variables that the sidecar inherits from the app: `{ "allow": ["LANG", "LC_*"] }` is only these,
    /// `{ "deny": ["AWS_*"] }` is all except these. The default is all except proxies and `NODE_OPTIONS`. Variables that
    /// are meant for only one process, such as `PORT`, are never inherited.
    #[serde(default)]
    inherit: Inherit,
    /// Whether the sidecar inherits the environment of the user's login shell instead of that of the app; `false` by default. An app
    /// that is started from Finder, the Dock or a desktop file lacks what the user's profile sets, such as the `PATH` to a version
    /// manager. The first start may take up to 15 s longer. Linux and macOS; without effect if the app is started from a terminal.
    #[serde(default)]
    login_shell_env: bool,
    /// Environment variables that are set in addition to the inherited ones, or override them. Placeholders as in `args`.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Whether every request needs a token; `true` by default. Each start makes a new token. Windows receive it by the permission
    /// `pillion:allow-connect`. The sidecar has to implement rule 5 of the protocol, as `pillion-server` does. With `false`, every
    /// program and every website that reaches the loopback interface can call the sidecar.
    #[serde(default = "yes")]
    private: bool,
    /// Where the sidecar listens: `"announced"` (the default), where it announces; `"assigned"`, on a free port that the app chooses
    /// before each start, if possible the same one; or on this port. With `"assigned"` and a number, the sidecar needs no
    /// announcement. If a fixed port is taken, the start fails.
    #[serde(default)]
    port: PortConfig,
    /// The environment variable that receives the port, such as `"PORT"`. It needs `"port": "assigned"` or a number.
    port_env: Option<String>,
    /// When the sidecar is ready: `"health"` (the default), when `health` answers; `"tcp"`, when its port accepts a connection;
    /// `"notify"`, when it sends `READY=1` as services of systemd do (`sd_notify(3)`, Linux); `"started"`, when it is launched, for a
    /// worker without a port; or one of the checks below. A check other than `"health"` cannot
    /// prove the token, so that a sidecar with a port needs `"private": false`. `docs/guarantees.md` says what each check loses.
    #[serde(default)]
    ready: ReadyConfig,
    /// The path whose 2xx response means ready, for `"ready": "health"`; `/health` by default.
    health: Option<String>,
    /// How long a start may take, in milliseconds; [`pillion::Spec::DEFAULT_READY_TIMEOUT`] by default.
    ready_timeout_ms: Option<NonZeroU64>,
    /// The longest time to which the sidecar may extend `readyTimeoutMs`, in milliseconds; by default it may not extend it. Each line of progress
    /// (`BACKEND_STATUS:loading model 42%` on its stdout) gives the start another `readyTimeoutMs` from then on, but never more than
    /// this since its beginning. For a start that takes long but makes progress, such as a migration or a download.
    ready_timeout_max_ms: Option<NonZeroU64>,
    /// The grace period, in milliseconds: how long the sidecar may take to end after the request to stop.
    /// [`pillion::Spec::DEFAULT_GRACE`] by default.
    grace_ms: Option<u64>,
    /// How the sidecar is asked to stop: a signal, the processes that get it at first, an HTTP request, or a line on stdin. The
    /// default is SIGTERM and the end of stdin, to the first process.
    #[serde(default)]
    stop: StopRequest,
    /// The exits after which the sidecar is restarted: `"never"`, `"onFailure"` (the default) or `"always"`.
    restart: Option<Restart>,
    /// How often the sidecar is restarted before it has failed for good; 4 times in a minute by default.
    #[serde(default)]
    restart_limit: RestartLimitConfig,
    /// The liveness probe of a ready sidecar; `false` turns it off, so that only the exit is noticed. By default, there is a probe
    /// every 10 s, and the sidecar counts as hung after three probes without a response.
    #[serde(default)]
    liveness: LivenessConfig,
    /// How often the sidecar must say that it works, in milliseconds: by `WATCHDOG=1`, as services of systemd with `WatchdogSec` do
    /// (`sd_watchdog_enabled(3)`, Linux). The sidecar finds the time in `WATCHDOG_USEC`. A sidecar that is ready and sends nothing for so long
    /// counts as hung; `liveness.restart` says whether it is then restarted. It needs `"ready": "notify"`. By default there is no watchdog.
    watchdog_ms: Option<NonZeroU64>,
    /// How much memory all processes of the sidecar may use together: a number and a unit, such as `"512 MiB"` or `"1.5 GiB"`. At 90 % of it
    /// there is a notice; at the limit the sidecar is stopped gracefully, and restarted as `restart` and `restartLimit` say. It is measured
    /// every 5 s, and every second from 75 % on: a guard against leaks, not a quota of the system. By default there is no limit.
    max_memory: Option<MemorySize>,
    /// Socket activation: whether the app binds the listener and hands it over (`LISTEN_FDS`, as systemd does). The port then
    /// stays the same after a restart, and connections wait meanwhile. Linux and macOS; on Windows the sidecar binds its own port.
    #[serde(default)]
    handover: bool,
    /// `"tcp"` (the default), or `"local"`: a Unix domain socket, on Windows a named pipe, and no port. `"local"` implies
    /// `handover`. The app then proxies the requests of pages, which need the permission `pillion:allow-fetch`.
    #[serde(default)]
    transport: Transport,
    /// Whether a sidecar with `"transport": "local"` may announce a port instead of taking its socket or pipe. By default a private
    /// sidecar may not, and fails to start, because every program on the machine can connect to a port.
    port_fallback: Option<bool>,
    /// Whether the sidecar runs on demand: its first use starts it, and it is not restarted if it ends while nothing uses it; `false`
    /// by default. The state is `idle` while it does not run. A use is a request, an event stream or a WebSocket of the page's client,
    /// until it has ended; a call of `ready`, until it returns; and a sidecar that depends on this one, while that is not down.
    /// `docs/page.md` says which requests the app does not see.
    #[serde(default)]
    on_demand: bool,
    /// The sidecar is stopped after this time without a use, in milliseconds. It needs `"onDemand": true`. By default it then runs until
    /// the app ends.
    idle_stop_ms: Option<NonZeroU64>,
    /// The sidecars that must be ready before this one starts. They stop after it.
    #[serde(default)]
    depends_on: Vec<String>,
    /// The sidecars whose restart also restarts this one, after a crash, a request or a swap, but not after a stop. They are
    /// dependencies as those in `dependsOn`, which need not repeat them. This sidecar is stopped as soon as such a sidecar goes down
    /// or is swapped, and starts when that is ready, with the new values of `${sidecar.NAME.port}` and `${sidecar.NAME.url}`.
    #[serde(default)]
    restart_with: Vec<String>,
    /// Whether the sidecars that depend on this one start without it after it has failed.
    #[serde(default)]
    optional: bool,
    /// Whether the app keeps the reports about the last 20 ends of the sidecar as files, in `exits` in its log directory; `true` by
    /// default. They also cover a run that was still going when the app died. A report holds the last lines of the output.
    #[serde(default = "yes")]
    exit_reports: bool,
    /// Whether the app keeps the output of the sidecar as files, in `sidecars` in its log directory, and how much of it; `false` turns it
    /// off. By default, it keeps the newest 10 files, at most 5 MiB each. `docs/logs.md` describes them.
    #[serde(default)]
    log: LogConfig,
    /// The command that an app in development (`tauri dev`) runs instead of the program, and the files to watch.
    pub dev: Option<DevConfig>,
    /// How `pillion package` builds the program for a bundle; the app ignores it.
    pub package: Option<PackageConfig>,
}

impl SidecarConfig {
    /// The expected digest of the program.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }

    /// Whether a new process can run beside the old one. Two processes cannot listen on one port.
    #[must_use]
    pub fn can_be_swapped(&self) -> bool {
        !matches!(self.listen(), pillion::Listen::Fixed(_))
    }

    /// Where the sidecar listens.
    #[must_use]
    pub fn listen(&self) -> pillion::Listen {
        self.port.into()
    }

    /// Whether the health of the protocol says when the sidecar is ready.
    #[must_use]
    pub fn is_checked_by_health(&self) -> bool {
        matches!(self.ready.0, ReadyCheck::Health)
    }

    /// Whether the sidecar inherits the environment of the login shell.
    #[must_use]
    pub fn uses_login_shell(&self) -> bool {
        self.login_shell_env
    }

    /// How requests reach the sidecar.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether the sidecar is a worker without an address, to which no page can send a request: it announces none, and its ready check
    /// needs none.
    #[must_use]
    pub fn has_no_address(&self) -> bool {
        matches!(self.ready.0, ReadyCheck::Started | ReadyCheck::Notify | ReadyCheck::Exec(_))
            && self.listen() == pillion::Listen::Announced
            && self.transport == Transport::Tcp
            && !self.handover
    }

    /// The declared limit for a start.
    #[must_use]
    pub fn ready_timeout(&self) -> Option<Duration> {
        self.ready_timeout_ms.map(|ms| Duration::from_millis(ms.get()))
    }

    /// The declared limit to which progress may extend that for a start.
    #[must_use]
    pub fn ready_timeout_max(&self) -> Option<Duration> {
        self.ready_timeout_max_ms.map(|ms| Duration::from_millis(ms.get()))
    }

    /// How the liveness is checked, if it is.
    #[must_use]
    pub fn liveness(&self) -> Option<pillion::Liveness> {
        self.liveness.into()
    }

    /// How often the sidecar must say that it works, if it must.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog_ms.map(|ms| Duration::from_millis(ms.get()))
    }

    /// Whether the exit reports are kept as files.
    #[must_use]
    pub fn keeps_exit_reports(&self) -> bool {
        self.exit_reports
    }

    /// The log files in this folder, if the output is kept as files.
    #[must_use]
    pub fn log_files(&self, folder: impl Into<PathBuf>) -> Option<LogFiles> {
        self.log.files(folder.into())
    }
}

fn yes() -> bool {
    true
}

// serde's error does not say where in the section it is, and Tauri shows it as it is: the path is added here.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(section: D) -> Result<Self, D::Error> {
        let mut track = serde_path_to_error::Track::new();
        Self::deserialize(serde_path_to_error::Deserializer::new(section, &mut track)).map_err(|error| {
            let error = suggestion::with_nearest(error.to_string());
            de::Error::custom(format!("plugins.pillion.{}: {error}", track.path()))
        })
    }
}

#[cfg(test)]
mod schema;

#[cfg(test)]
mod tests;
