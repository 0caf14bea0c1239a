//! The arguments of `pillion run`, and what they declare.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args as ClapArgs, ValueEnum, error::ErrorKind};
use pillion::{
    HttpStopRequest, Inherit, Listen, LogFiles, Program, ProgramStdin, ReadyCheck, Restart, Spec,
    StopRequest, StopScope, StopSignal,
};

use super::control::Control;
use crate::ready;

/// Supervise a program: wait until it is ready, show its output, stop it on Ctrl-C.
///
/// Ready means that the program announced its port on stdout and that GET on the health path answered 2xx. --port and --ready
/// are for programs that do not announce a port or have no health path, such as servers that other people wrote. To stop the
/// program, `pillion run` closes its stdin and sends it SIGTERM (see the --stop options). Its other processes get the signal when
/// the program has ended, or after half of the grace period. What is left after the grace period is killed. A second Ctrl-C
/// kills at once; a second SIGTERM does not, because programs such as timeout(1) send two. A signal that the caller ignores, as
/// nohup(1) does, stays ignored.
///
/// The stdin of the program is a pipe that stays open and empty until `pillion run` stops the program or is killed: the
/// program learns from its end that it must stop. What you type into `pillion run` does not reach the program, unless you give
/// --stdin inherit.
///
/// The program inherits the environment of this terminal, except PORT, HOST, HOSTNAME and variables that belong to only one process;
/// set those with env(1).
///
/// Exit status: that of the program (of its last run, if it was restarted), 128+n if signal n ended it, 125 if it never
/// became ready.
#[derive(Debug, ClapArgs)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The name of the program in messages; the default is its file name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The path whose 2xx answer means ready, for --ready health [default: /health].
    #[arg(long, value_name = "PATH", value_parser = path)]
    health: Option<String>,
    /// When the program is ready: `health`, `http:PATH`, `tcp`, `line:REGEX`, `exec:COMMAND`, `notify` or `started`.
    ///
    /// `health`: the --health path answers 2xx. `http:PATH`: GET on that path answers 2xx. `tcp`: the port accepts a connection.
    /// `line:REGEX`: a line of stdout or stderr matches the regular expression; its group "port" gives the port, if --port does not,
    /// as in `line:listening on port (?<port>[0-9]+)`. `exec:COMMAND`: the command exits with 0; it is split into words as a shell
    /// does, without a shell. `notify`: the program sends READY=1 as services of systemd do (Linux). `started`: the program was
    /// launched. A program that hangs later is noticed with `health` and `http:PATH`, with `tcp` if its port refuses connections, and
    /// with `notify` if it sends WATCHDOG=trigger.
    #[arg(long, value_name = "CHECK", default_value = "health", value_parser = ready::parse)]
    ready: ReadyCheck,
    /// The time limit for a start, for example 30s or 2m.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    ready_timeout: Duration,
    /// The longest time to which the program may extend this limit. Each line `BACKEND_STATUS:TEXT` on its stdout gives the start another
    /// --ready-timeout from then on, but never more than this since its beginning.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ready_timeout_max: Option<Duration>,
    /// The grace period: how long the program has to end after it was asked to stop.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// The signal that asks the program to stop: SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1 or SIGUSR2.
    #[arg(long, value_name = "SIGNAL", default_value = "SIGTERM")]
    stop_signal: StopSignal,
    /// The processes that get the signal at first: "leader" is only the program, "group" is its whole process group.
    #[arg(long, value_name = "SCOPE", default_value = "leader")]
    stop_scope: StopScope,
    /// Ask the program to stop by an HTTP request, such as "POST /shutdown". If it fails, the program gets the signal.
    #[arg(long, value_name = "REQUEST")]
    stop_http: Option<HttpStopRequest>,
    /// Ask the program to stop by this line on its stdin instead of a signal.
    #[arg(long, value_name = "LINE")]
    stop_stdin: Option<String>,
    /// What the program reads on its stdin: "lifeline" is the pipe that ends when the program must stop, "inherit" is the stdin of
    /// `pillion run`, such as this terminal.
    ///
    /// With "inherit" the end of stdin no longer tells the program to stop: it gets only the signal or the HTTP request, even
    /// after `pillion run` was killed (on Windows only the HTTP request; without one, it is killed after the grace period).
    /// The program reads what you type. Ctrl-C and Ctrl-Z still reach only `pillion run`, and the program cannot open /dev/tty.
    #[arg(long, value_name = "SOURCE", value_enum, default_value_t = Input::Lifeline)]
    stdin: Input,
    /// Which ends of the program cause a restart. After 4 restarts within a minute `pillion run` gives up.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = When::Never)]
    restart: When,
    /// Where the program listens: "announced" is where it announces, "assigned" is a free port that `pillion run` chooses before
    /// each start, a number is that port. A program with an assigned or fixed port needs no announcement.
    #[arg(long, value_name = "PORT", default_value = "announced", value_parser = listen, conflicts_with = "handover")]
    port: Listen,
    /// The environment variable that receives an assigned or fixed port; the default is PORT for an assigned one.
    #[arg(long, value_name = "NAME")]
    port_env: Option<String>,
    /// Replace ${port} in the arguments of the program, and in the command of --ready exec:COMMAND, by an assigned or fixed port, and
    /// $$ by a dollar sign. Your shell must not replace it: write it in single quotation marks, and in a Makefile with another dollar sign before it.
    #[arg(long)]
    placeholders: bool,
    /// Hand the listener to the program (socket activation, as systemd does), so that the port survives a crash.
    #[arg(long)]
    handover: bool,
    /// Give the program a token, which every request must carry. Then ready also means that the program proved that it holds
    /// the token. No other program receives the token, so this shows whether a program can be a private sidecar.
    #[arg(long)]
    private: bool,
    /// Let the program inherit the environment of your login shell, for a start without a terminal (a desktop file, launchd, cron).
    /// Without effect if stdin, stdout or stderr is a terminal.
    #[arg(long)]
    login_shell_env: bool,
    /// Keep the output of the program in files in this directory, in a directory with the program's name. Each line has its time, run,
    /// stream and level, and no control sequences. The newest 10 files are kept, at most 5 MiB each.
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// Show no status line. Without this option, a terminal shows in its last row how the program is: its state, for how long, restarts and
    /// memory. There is no such row if `NO_COLOR` is set, with --stdin inherit, or without a terminal.
    #[arg(long, short)]
    quiet: bool,
    /// Write events to stdout, one JSON object a line.
    #[arg(long)]
    pub(super) json: bool,
    /// What other programs of this user may do: "read" lets the commands that only look, such as `pillion ps`, `top` and `logs`, see the
    /// program, "full" lets `pillion restart` restart it as well.
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = Control::Read)]
    pub(super) control: Control,
    /// Open no control socket, so that `pillion ps` does not show the program.
    #[arg(long, conflicts_with = "control")]
    pub(super) no_control: bool,
    /// The program and its arguments. What follows the program belongs to it, with or without `--` before it.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  A program that announces its port and has a health path:
    pillion run -- ./backend
  A web server that knows nothing of Pillion, with the port in its arguments:
    pillion run --port assigned --placeholders --ready http:/ --stop-signal SIGINT \\
      -- python3 -m http.server --bind 127.0.0.1 '${port}'
  A server that reads PORT and prints a line when it is ready:
    pillion run --port assigned --ready 'line:listening on' -- node server.js
  A database on its usual port, which a command checks:
    pillion run --port 6379 --ready 'exec:redis-cli ping' -- redis-server
  A worker without a port:
    pillion run --ready started --restart on-failure -- ./worker";

/// What the program reads on its stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Input {
    /// A pipe that ends when the program must stop.
    Lifeline,
    /// The stdin of `pillion run`.
    Inherit,
}

/// The ends that cause a restart.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum When {
    /// No end.
    Never,
    /// A crash or a hang.
    OnFailure,
    /// A crash, a hang, or exit code 0.
    Always,
}

impl From<When> for Restart {
    fn from(when: When) -> Self {
        match when {
            When::Never => Self::Never,
            When::OnFailure => Self::OnFailure,
            When::Always => Self::Always,
        }
    }
}

impl Args {
    /// Whether the last row of the terminal is the program's alone, which may read the terminal itself.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet || self.stdin == Input::Inherit
    }

    /// Whether log files are written.
    pub(super) fn has_log(&self) -> bool {
        self.log_dir.is_some()
    }

    /// What is wrong with the placeholders for the port, if anything is.
    pub(super) fn placeholder_advice(&self) -> Option<&'static str> {
        let in_command = self.command.iter().any(|word| word.to_string_lossy().contains("${port}"));
        let in_check =
            matches!(&self.ready, ReadyCheck::Exec(check) if check.to_string().contains("${port}"));
        if !self.placeholders && self.port != Listen::Announced && in_command {
            Some("the program gets ${port} as it is written: --placeholders replaces it by the port")
        } else if self.placeholders && !in_command && !in_check {
            Some(
                "--placeholders found no ${port} to replace: if you wrote one, your shell has removed it; write '${port}' in single \
                 quotation marks, and '$${port}' in a Makefile",
            )
        } else {
            None
        }
    }

    /// Ends the process with an error about arguments that contradict each other.
    pub(super) fn exit_on_conflict(&self) {
        let conflict = if self.stdin == Input::Inherit && self.stop_stdin.is_some() {
            Some((
                ErrorKind::ArgumentConflict,
                "the argument '--stdin inherit' cannot be used with '--stop-stdin <LINE>', because the program then reads the stdin of \
                 `pillion run`: use --stop-signal or --stop-http",
            ))
        } else if self.health.is_some() && !matches!(self.ready, ReadyCheck::Health) {
            Some((
                ErrorKind::ArgumentConflict,
                "the argument '--health <PATH>' can be used with '--ready health' only: write --ready http:PATH for a path without the \
                 health check of the protocol",
            ))
        } else if self.ready_timeout_max.is_some_and(|max| max < self.ready_timeout) {
            Some((
                ErrorKind::ValueValidation,
                "--ready-timeout-max is less than --ready-timeout: progress can only extend the limit",
            ))
        } else {
            None
        };
        if let Some((kind, message)) = conflict {
            Self::augment_args(clap::Command::new("pillion run")).error(kind, message).exit();
        }
    }

    /// The declaration of the program.
    pub(super) fn into_spec(self) -> Spec {
        let mut stop = StopRequest::default().signal(self.stop_signal).scope(self.stop_scope);
        if let Some(request) = self.stop_http {
            stop = stop.http(request);
        }
        if let Some(line) = self.stop_stdin {
            stop = stop.stdin_line(line);
        }
        let mut command = self.command.into_iter();
        let program = command.next().unwrap_or_default();
        let name =
            self.name.or_else(|| Some(Path::new(&program).file_stem()?.to_string_lossy().into_owned()));
        // As without `pillion run`: the proxy variables of this terminal are meant for the program that runs in it.
        let program = Program::new(program)
            .args(command)
            .inherit(Inherit::all())
            .login_shell_env(self.login_shell_env)
            .placeholders(self.placeholders)
            .listen(self.port)
            .handover(self.handover)
            .private(self.private)
            .stdin(match self.stdin {
                Input::Lifeline => ProgramStdin::Lifeline,
                Input::Inherit => ProgramStdin::Inherit,
            })
            .stop(stop);
        let port_env = self.port_env.or_else(|| (self.port == Listen::Assigned).then(|| "PORT".to_owned()));
        let program = match port_env {
            Some(name) => program.port_env(name),
            None => program,
        };
        let spec = Spec::run(name.unwrap_or_else(|| "sidecar".to_owned()), program)
            .ready_check(self.ready)
            .ready_timeout(self.ready_timeout)
            .ready_timeout_max(self.ready_timeout_max)
            .grace(self.grace)
            .restart(self.restart.into());
        let spec = match self.log_dir {
            Some(dir) => spec.log_files(LogFiles::new(dir)),
            None => spec,
        };
        match self.health {
            Some(path) => spec.health_path(path),
            None => spec,
        }
    }
}

/// Accepts a path with an optional query, in the characters that RFC 3986 allows. A URL can contain no other ones.
pub(crate) fn path(text: &str) -> Result<String, &'static str> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/?".contains(&byte);
    (text.starts_with('/') && text.bytes().all(valid))
        .then(|| text.to_owned())
        .ok_or("a path starts with / and is written as in a URL, for example /health")
}

fn listen(text: &str) -> Result<Listen, &'static str> {
    match text {
        "announced" => Ok(Listen::Announced),
        "assigned" => Ok(Listen::Assigned),
        port => {
            port.parse().map(Listen::Fixed).map_err(|_| "use announced, assigned, or a port from 1 to 65535")
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;
    use pillion::RestartLimit;

    use super::*;

    #[test]
    fn the_examples_of_the_help_are_valid_command_lines() {
        let joined = EXAMPLES.replace("\\\n", " ");
        let lines: Vec<_> = joined.lines().filter_map(|line| line.trim().strip_prefix("pillion ")).collect();
        assert_eq!(lines.len(), 5, "{joined}");
        for line in lines {
            let run = Args::augment_args(clap::Command::new("run"));
            let parsed = run.try_get_matches_from(shlex::split(line).unwrap());
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }

    #[test]
    fn a_placeholder_that_is_not_replaced_or_that_the_shell_has_removed_gets_advice() {
        let advice = |line: &str| {
            let run = Args::augment_args(clap::Command::new("run"));
            let matches = run.try_get_matches_from(shlex::split(line).unwrap()).unwrap();
            Args::from_arg_matches(&matches).unwrap().placeholder_advice()
        };
        for (line, expected) in [
            ("run --port assigned -- server '${port}'", Some("--placeholders replaces it")),
            ("run --port assigned --placeholders -- server ''", Some("your shell has removed it")),
            ("run --port assigned --placeholders -- server '${port}'", None),
            ("run --port 80 --placeholders --ready 'exec:ping ${port}' -- server", None),
            ("run -- server '${port}'", None),
        ] {
            let found = advice(line);
            let fits =
                expected.map_or(found.is_none(), |text| found.is_some_and(|found| found.contains(text)));
            assert!(fits, "{line}: {found:?}");
        }
    }

    #[test]
    fn the_help_gives_the_defaults_of_the_supervisor() {
        let help = Args::augment_args(clap::Command::new("run")).render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let RestartLimit { limit, window, .. } = RestartLimit::default();
        for default in [
            format!("[default: {}s]", Spec::DEFAULT_GRACE.as_secs()),
            format!("[default: {}s]", Spec::DEFAULT_READY_TIMEOUT.as_secs()),
            "for --ready health [default: /health]".to_owned(),
            format!("After {limit} restarts within a minute"),
        ] {
            assert!(help.contains(&default), "{default:?} is missing in: {help}");
        }
        assert_eq!(window.as_secs(), 60);
    }
}
