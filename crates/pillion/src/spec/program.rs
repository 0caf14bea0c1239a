//! The program that a supervisor starts.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    Inherit,
    spec::{Listen, StopRequest},
};

/// A program that the supervisor starts, owns and stops: its file, arguments and environment, and how requests reach it.
///
/// A path alone is enough where the defaults fit: `Spec::run("backend", "./backend")`.
///
/// ```
/// use pillion::{Program, Spec};
///
/// let program = Program::new("./backend").arg("--verbose").env("RUST_LOG", "info").handover(true);
/// let spec = Spec::run("backend", program);
/// ```
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) inherit: Inherit,
    pub(crate) login_shell_env: bool,
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) listen: Listen,
    pub(crate) port_env: Option<String>,
    pub(crate) placeholders: bool,
    pub(crate) handover: bool,
    pub(crate) transport: Transport,
    pub(crate) private: bool,
    pub(crate) port_fallback: Option<bool>,
    pub(crate) stop: StopRequest,
    pub(crate) stdin: ProgramStdin,
    pub(crate) sha256: Option<String>,
    pub(crate) run_copy: bool,
}

/// What a program reads on its stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ProgramStdin {
    /// A pipe that stays empty, the *lifeline*. Its end asks the program to stop.
    #[default]
    Lifeline,
    /// The stdin of this process: a terminal, a pipe or a file.
    Inherit,
}

/// How requests reach a sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Transport {
    /// Over a port of 127.0.0.1.
    #[default]
    Tcp,
    /// Over a Unix domain socket, or on Windows over a named pipe. The sidecar has no port.
    Local,
}

impl Program {
    /// The program at `path`. A bare name is looked up in `PATH`; another relative path begins in [`current_dir`](Self::current_dir), on
    /// every system. On Windows, `.exe` may be left out.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            inherit: Inherit::default(),
            login_shell_env: false,
            env: BTreeMap::new(),
            current_dir: None,
            allowed_origins: Vec::new(),
            listen: Listen::default(),
            port_env: None,
            placeholders: false,
            handover: false,
            transport: Transport::default(),
            private: false,
            port_fallback: None,
            stop: StopRequest::default(),
            stdin: ProgramStdin::default(),
            sha256: None,
            run_copy: false,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(self, arg: impl Into<OsString>) -> Self {
        self.args([arg])
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets which environment variables of this process the program inherits. [`env`](Self::env) adds to them. The default,
    /// [`Inherit::default`], leaves out variables that are rarely meant for a local server. The supervisor reads the variables
    /// again at each start.
    #[must_use]
    pub fn inherit(mut self, inherit: Inherit) -> Self {
        self.inherit = inherit;
        self
    }

    /// Sets whether the program inherits the environment of the user's login shell instead of that of this process. The default is
    /// `false`. For an app that is started from Finder, the Dock or a desktop file, and so lacks what the user's profile sets,
    /// such as the `PATH` to a version manager. [`inherit`](Self::inherit) and its rules apply to it.
    ///
    /// The first start runs `SHELL`, or else the shell of the user database, as an interactive login shell, and takes up to 10 s. A
    /// shell that fails or hangs is killed and asked once more, for up to 5 s, as one that is not interactive. If this fails too, the
    /// supervisor publishes a notice, and the program inherits the environment of this process. The answer is kept for all
    /// sidecars as long as this process lives. The user's profile can test `PILLION_RESOLVING_ENVIRONMENT`, which is set.
    ///
    /// Does nothing on Windows, and if a standard stream of this process is a terminal: then its environment is that of a shell.
    #[must_use]
    pub fn login_shell_env(mut self, login_shell_env: bool) -> Self {
        self.login_shell_env = login_shell_env;
        self
    }

    /// Sets an environment variable. It replaces an inherited variable of the same name.
    ///
    /// The program never inherits `PORT`, because the value was meant for another program. To ask for a port, set `PORT` here, or
    /// [declare the port](Self::listen).
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets the working directory; the default is the directory of this process.
    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(dir.into());
        self
    }

    /// Sets the origins whose pages may call the sidecar. The sidecar reads them from `PILLION_ALLOWED_ORIGINS`.
    #[must_use]
    pub fn allowed_origins(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.allowed_origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// Sets where the program listens; the default is [`Listen::Announced`].
    ///
    /// A program with a declared port may announce that port as well. If it announces another one, the supervisor publishes a notice,
    /// and uses the announced port as soon as nothing accepts connections on the declared one, as after a second announcement.
    ///
    /// A declared port excludes [`handover`](Self::handover) and [`Transport::Local`], which have their own rules for the listener.
    #[must_use]
    pub fn listen(mut self, listen: Listen) -> Self {
        self.listen = listen;
        self
    }

    /// Names the environment variable that receives the port, such as `PORT`. It needs [`Listen::Assigned`] or [`Listen::Fixed`], and
    /// replaces a variable of the same name from [`env`](Self::env).
    #[must_use]
    pub fn port_env(mut self, name: impl Into<String>) -> Self {
        self.port_env = Some(name.into());
        self
    }

    /// Sets whether the supervisor replaces placeholders in the arguments, the values of [`env`](Self::env), the
    /// [working directory](Self::current_dir) and the command of an [exec check](crate::ExecCheck) at each start. The default is
    /// `false`; the default of `tauri-plugin-pillion` is `true`.
    ///
    /// - `${port}` is the port of this sidecar, if it is [assigned or fixed](Listen).
    /// - `${sidecar.NAME.port}` and `${sidecar.NAME.url}` are the port and the URL of a sidecar in
    ///   [`depends_on`](crate::Spec::depends_on) or [`restart_with`](crate::Spec::restart_with). They need a [`Fleet`](crate::Fleet).
    ///   When that sidecar moves to another port later, `restart_with` starts this sidecar again with the new port; with `depends_on`
    ///   alone, they stay as they are.
    /// - `$$` is a dollar sign. A dollar sign before any other character stays.
    ///
    /// A placeholder that is unknown or can have no value makes the declaration invalid; one that has no value at the start makes the
    /// start fail. Values that are not valid Unicode stay as they are.
    ///
    /// ```
    /// use pillion::{Listen, Program};
    ///
    /// let server = Program::new("python3")
    ///     .args(["-m", "http.server", "--bind", "127.0.0.1", "${port}"])
    ///     .listen(Listen::Assigned)
    ///     .placeholders(true);
    /// ```
    #[must_use]
    pub fn placeholders(mut self, placeholders: bool) -> Self {
        self.placeholders = placeholders;
        self
    }

    /// Adds origins whose pages may call the sidecar.
    #[must_use]
    pub fn add_allowed_origins(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.allowed_origins.extend(origins.into_iter().map(Into::into));
        self
    }

    /// Sets whether the supervisor binds the listener and hands it to each run (socket activation, by systemd's convention:
    /// `LISTEN_FDS`, `LISTEN_PID`, descriptor 3; see `sd_listen_fds(3)`). The default is `false`.
    ///
    /// With a handover the port stays the same across crashes and restarts, and a client that connects during a restart waits
    /// instead of being refused. The sidecar still announces its port. If it announces another port, it did not take the
    /// listener; the supervisor then uses the announced port and publishes a notice.
    ///
    /// This works on Linux and macOS, under a guard. Elsewhere the sidecar chooses a port itself.
    #[must_use]
    pub fn handover(mut self, handover: bool) -> Self {
        self.handover = handover;
        self
    }

    /// Sets how requests reach the sidecar; the default is [`Transport::Tcp`].
    ///
    /// With [`Transport::Local`] the supervisor hands over a Unix domain socket (this implies [`handover`](Self::handover)). No
    /// port is open, and other users of the machine cannot connect. The URL is `pillion://localhost`; send requests over
    /// [`Access::connect`](crate::Access::connect). The sidecar must take such a listener and announce `BACKEND_SOCKET:3`, as
    /// servers on `pillion-server` do. If it announces a port instead, [`port_fallback`](Self::port_fallback) decides.
    ///
    /// On Linux and macOS this needs a guard; without one the sidecar chooses a port itself. On Windows it is a named pipe: the
    /// sidecar creates it under the name in `PILLION_PIPE` and announces `BACKEND_SOCKET:pipe`. The name changes with each run,
    /// so a client that connects during a restart is refused.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Sets the SHA-256 of the program's file, in 64 hexadecimal digits. The file is read before each start, unless it is unchanged since
    /// it was last read (by size, times and, on Unix, inode). A file with another digest, or an unreadable one, is not started:
    /// the start fails with [`FailureKind::Mismatch`](crate::FailureKind::Mismatch), and is not repeated.
    ///
    /// The check finds a program that was exchanged by mistake, by an incomplete update, or on the disk. It does not stop an
    /// attacker who can write to that folder, and so to the app itself, or who exchanges the file between the check and the start. It
    /// covers this file alone, not the files that the program loads. The path must not be a bare name, which `PATH` could lead elsewhere.
    #[must_use]
    pub fn sha256(mut self, digest: impl Into<String>) -> Self {
        self.sha256 = Some(digest.into());
        self
    }

    /// Sets whether each start runs a copy of the program's file, so that a build can replace the file while the program runs; the default
    /// is `false`. For development on Windows, which locks the file of a running program.
    ///
    /// The copy lies beside the file, and the next start removes it. If it cannot be made, and for a bare name, which `PATH` resolves,
    /// the file itself runs.
    #[must_use]
    pub fn run_copy(mut self, run_copy: bool) -> Self {
        self.run_copy = run_copy;
        self
    }

    /// Sets how the program is asked to stop; the default is SIGTERM and the end of stdin, to the leader first.
    #[must_use]
    pub fn stop(mut self, request: StopRequest) -> Self {
        self.stop = request;
        self
    }

    /// Sets what the program reads on its stdin; the default is [`ProgramStdin::Lifeline`].
    ///
    /// With [`ProgramStdin::Inherit`] the program has no lifeline. A stop is the declared signal or HTTP request alone, so that on
    /// Windows, which has no signals, only an HTTP request asks. If this process is killed, the guard asks as always; without a
    /// guard nothing tells the program. A [line on stdin](StopRequest::stdin_line) cannot ask: such a program fails to start.
    ///
    /// On Linux and macOS the program runs in another session than this process. It can read the terminal and change its
    /// settings, but job control does not apply to it: Ctrl-C and Ctrl-Z reach this process alone, and the program cannot open
    /// `/dev/tty`, as some password prompts do. While this process is in the background, the program still reads the terminal.
    #[must_use]
    pub fn stdin(mut self, stdin: ProgramStdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// Sets whether a sidecar with [`Transport::Local`] may announce a port instead of taking its socket or pipe. The default is
    /// `false` for a [`private`](Self::private) sidecar, and `true` otherwise.
    ///
    /// With `true` the supervisor uses the port and publishes a notice. With `false` the start fails, because every program on
    /// the machine can connect to a port.
    #[must_use]
    pub fn port_fallback(mut self, port_fallback: bool) -> Self {
        self.port_fallback = Some(port_fallback);
        self
    }

    /// Whether the sidecar may announce a port although its transport is local.
    pub(crate) fn may_use_port(&self) -> bool {
        self.port_fallback.unwrap_or(!self.private)
    }

    /// Sets whether the sidecar answers this app alone. The default is `false`, because a private sidecar must keep rule 5 of the
    /// protocol; the default of `tauri-plugin-pillion` is `true`.
    ///
    /// A private sidecar gets a new token in `PILLION_TOKEN` at each start. It must prove that it holds the token before it counts
    /// as ready, and it must refuse requests without the token. [`Supervisor::access`](crate::Supervisor::access) returns the
    /// token. Servers on `pillion-server` keep this rule. A server that does not keep it fails to start.
    #[must_use]
    pub fn private(mut self, private: bool) -> Self {
        self.private = private;
        self
    }
}

macro_rules! from_path {
    ($($path:ty),+) => {
        $(impl From<$path> for Program {
            fn from(path: $path) -> Self {
                Self::new(path)
            }
        })+
    };
}

from_path!(&str, String, &String, &OsStr, OsString, &OsString, &Path, PathBuf, &PathBuf);
