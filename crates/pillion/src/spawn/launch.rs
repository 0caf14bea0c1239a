//! Starts the process of a [`Program`].

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use pillion_protocol::{Instance, Token, environment};
use zeroize::Zeroizing;

use crate::{
    listener::Listener,
    output::journal::RunJournal,
    spawn::check_command::CheckCommand,
    spawn::program_digest::{self, Unfit},
    spawn::spawn_error,
    spawn::{
        environment::ParentEnvironment,
        executable, login_shell,
        run_copy::{self, RunCopy},
    },
    spec::{DependencyAddress, Listen, Program, ProgramStdin, ReadyCheck, Spec, Values},
    sys::{self, Group, SpawnRequest, Spawned, StdinHandle},
    transport::notify_socket::NotifySocket,
    transport::port_reservation::{PortClaim, PortReservation},
};

/// The variable of `sd_notify(3)`.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// The variable of `sd_watchdog_enabled(3)` with the interval. `sys` sets the other one, with the process id.
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";

/// A started process, and the secrets that only it received.
pub(crate) struct Launched {
    pub(crate) instance: Instance,
    pub(crate) token: Option<Token>,
    pub(crate) spawned: Spawned,
    /// The port that the process received.
    pub(crate) port: Option<PortClaim>,
    /// The command that checks whether the run is ready, if it is checked so.
    pub(crate) exec: Option<CheckCommand>,
    /// Where the run tells that it is ready, if it is checked so.
    pub(crate) notify: Option<NotifySocket>,
    /// Why the program does not have the environment of the login shell, if it should.
    pub(crate) without_login_shell: Option<String>,
}

/// Why no process was started, as a sentence.
#[derive(Debug)]
pub(crate) enum LaunchError {
    /// The program is not the one that the declaration expects.
    Mismatch(String),
    Failed(String),
}

impl From<String> for LaunchError {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl From<Unfit> for LaunchError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Wrong(why) => Self::Mismatch(why),
            Unfit::Missing(why) => Self::Failed(why),
        }
    }
}

/// Starts the program of this specification with a new instance, and with a new token if it is private and its check proves the token.
/// `run_file` is where a guard notes its end if this process dies, `journal` has what it then writes to the log file, `reserved` is its
/// port, unless it announces one.
pub(crate) fn launch(
    program: &Program,
    spec: &Spec,
    listener: Option<Listener>,
    run_file: Option<File>,
    journal: Option<&RunJournal>,
    reserved: Option<PortReservation>,
    dependencies: Vec<DependencyAddress>,
) -> Result<Launched, LaunchError> {
    let values = Values { port: reserved.as_ref().map(PortReservation::port), dependencies };
    let (program, check) = &program.expanded(&spec.ready_check, &values)?;
    program_digest::check(program)?;
    let stdin = own_stdin(program)?;
    let no_random = |error| format!("the system returned no random bytes: {error}");
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(no_random)?;
    let instance = Instance::from_bytes(bytes);
    let token = (program.private && check.proves_token()).then(fresh_token).transpose().map_err(no_random)?;
    let marker = format!("{}={instance}", environment::INSTANCE);
    let (parent, without_login_shell) = parent_environment(program);
    // Kept until the program runs: then the system protects the copy.
    let copy = run_copy(program);
    let file = copy.as_ref().map_or_else(|| file_to_run(program), |copy| copy.path().to_owned());
    let mut command = command(&file, program, parent, instance, token.as_ref(), listener.as_ref());
    if let (Some(name), Some(reserved)) = (&program.port_env, &reserved) {
        command.env(name, reserved.port().to_string());
    }
    let notify = match check {
        ReadyCheck::Notify => Some(
            NotifySocket::bind()
                .map_err(|error| format!("cannot create the socket for NOTIFY_SOCKET: {error}"))?,
        ),
        _ => None,
    };
    command.envs(notify.as_ref().map(|socket| (NOTIFY_SOCKET, socket.path())));
    command.envs(spec.watchdog.map(|interval| (WATCHDOG_USEC, interval.as_micros().to_string())));
    let exec = match check {
        ReadyCheck::Exec(check) => Some(CheckCommand::new(&spec.name, check.clone(), &command)),
        _ => None,
    };
    if let Some(journal) = journal {
        journal.set_token(token.as_ref());
    }
    // Without it, the guard keeps nothing.
    let journal = journal.and_then(|journal| journal.for_guard().ok());
    let (grace, stop, watchdog) = (spec.grace, program.stop.clone(), spec.watchdog.is_some());
    let port = match program.listen {
        Listen::Fixed(port) => Some(port),
        _ => None,
    };
    let request =
        SpawnRequest { command, grace, marker, stop, port, listener, watchdog, stdin, run_file, journal };
    // The program binds the port itself: from here on another program could take it.
    let port = reserved.map(PortReservation::release);
    let spawned = Group::spawn(request);
    drop(copy);
    match spawned {
        Ok(spawned) => Ok(Launched { instance, token, spawned, port, exec, notify, without_login_shell }),
        Err(error) => Err(spawn_error::explain(&program.path, program.current_dir.as_deref(), &error).into()),
    }
}

/// The stdin of this process, if the program inherits it. An error is a sentence.
fn own_stdin(program: &Program) -> Result<Option<StdinHandle>, String> {
    match program.stdin {
        ProgramStdin::Lifeline => Ok(None),
        ProgramStdin::Inherit if program.stop.stdin_line.is_some() => Err("a line on its stdin cannot ask it to stop, because it \
            inherits the stdin of this process: declare a signal or an HTTP request, or let it have the lifeline"
            .to_owned()),
        ProgramStdin::Inherit => sys::own_stdin()
            .map(Some)
            .map_err(|error| format!("the stdin of this process is not usable: {error}")),
    }
}

/// The environment from which the program inherits, and why it is not that of the login shell, if it should be.
fn parent_environment(program: &Program) -> (ParentEnvironment, Option<String>) {
    match program.login_shell_env.then(login_shell::known).flatten().as_deref() {
        Some(Ok(variables)) => (ParentEnvironment::of_login_shell(variables.clone()), None),
        Some(Err(why)) => (ParentEnvironment::this(), Some(why.clone())),
        None => (ParentEnvironment::this(), None),
    }
}

fn command(
    file: &Path,
    program: &Program,
    parent: ParentEnvironment,
    instance: Instance,
    token: Option<&Token>,
    listener: Option<&Listener>,
) -> Command {
    let mut command = Command::new(file);
    command
        .args(&program.args)
        .env_clear()
        .envs(parent.inherited_by(&program.inherit))
        .env(environment::PROTOCOL, environment::PROTOCOL_VERSION)
        .env(environment::INSTANCE, instance.to_string());
    if let Some(token) = token {
        command.env(environment::TOKEN, token.reveal());
    }
    command.envs(listener.and_then(Listener::variable));
    if !program.allowed_origins.is_empty() {
        command.env(environment::ALLOWED_ORIGINS, program.allowed_origins.join(","));
    }
    if let Some(dir) = &program.current_dir {
        command.current_dir(dir);
    }
    command.envs(&program.env);
    command
}

/// A copy of the program to execute, if the program asks for one and its file can be copied.
fn run_copy(program: &Program) -> Option<RunCopy> {
    let dir = program.current_dir.as_deref();
    let copied = (program.run_copy && !executable::is_bare(&program.path))
        .then(|| run_copy::copy(&executable::file(&program.path, dir)))?;
    // The launch says more about a file that is missing.
    copied
        .inspect_err(|error| tracing::debug!(%error, "cannot copy the program; its file itself is executed"))
        .ok()
}

/// The program's own file.
fn file_to_run(program: &Program) -> PathBuf {
    executable::command_path(&program.path, program.current_dir.as_deref())
}

fn fresh_token() -> Result<Token, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes)?;
    Ok(Token::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inherited_stdin_and_a_stop_by_stdin_conflict() {
        let stop = crate::StopRequest::default().stdin_line("quit");
        let program = Program::new("true").stdin(ProgramStdin::Inherit).stop(stop);
        let spec = Spec::run("backend", program.clone());
        let error = launch(&program, &spec, None, None, None, None, Vec::new()).err().unwrap();
        assert!(
            matches!(&error, LaunchError::Failed(why) if why.contains("inherits the stdin")),
            "{error:?}"
        );
    }

    #[test]
    fn each_token_is_new() {
        let tokens: Vec<_> = (0..100).map(|_| fresh_token().unwrap()).collect();
        let digits: std::collections::HashSet<_> = tokens.iter().map(Token::reveal).collect();
        assert_eq!(digits.len(), tokens.len());
    }
}
