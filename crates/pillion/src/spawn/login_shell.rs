//! The environment of the user's login shell, for an app that a desktop started: such an app does not have what the user's
//! profile sets, such as the `PATH` of a version manager.
//!
//! The method is that of editors: the login shell runs, interactively, a command that prints its environment. VS Code:
//! <https://github.com/microsoft/vscode/blob/main/src/vs/platform/shell/node/shellEnv.ts>

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _},
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use tokio::sync::watch;

/// The environment, or a sentence that says why it could not be read.
pub(crate) type LoginShellEnvironment = Arc<Result<Vec<(OsString, OsString)>, String>>;

/// How long a start waits at most: longer than both tries, because also the user database may be slow.
const WAIT_LIMIT: Duration = Duration::from_secs(20);

/// Waits until the environment of the login shell is known. The first call in this process starts the shell; later ones get the
/// same answer. Does nothing where the environment of this process is that of a shell already (a standard stream is a terminal),
/// and on Windows. Cancel-safe.
pub(crate) async fn wait() {
    if let Some(answer) = answer() {
        let mut answer = answer.clone();
        // An error means that the time is over; `known` then says so.
        let _ = tokio::time::timeout(WAIT_LIMIT, answer.wait_for(Option::is_some)).await;
    }
}

/// The present answer: an error as long as the shell has not answered.
pub(crate) fn known() -> Option<LoginShellEnvironment> {
    let unanswered = || Arc::new(Err("the login shell has not answered".to_owned()));
    Some(answer()?.borrow().clone().unwrap_or_else(unanswered))
}

fn answer() -> Option<&'static watch::Receiver<Option<LoginShellEnvironment>>> {
    static ANSWER: OnceLock<Option<watch::Receiver<Option<LoginShellEnvironment>>>> = OnceLock::new();
    let begin = || {
        let started_from_terminal =
            io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal();
        if cfg!(windows) || started_from_terminal {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        // A thread, because the supervisor that asks first may end before the shell.
        let read = move || drop(sender.send(Some(Arc::new(resolve::environment()))));
        match thread::Builder::new().name("login shell".to_owned()).spawn(read) {
            Ok(_) => Some(receiver),
            Err(error) => {
                let why = format!("no thread could be started for it: {error}");
                Some(watch::channel(Some(Arc::new(Err(why)))).1)
            }
        }
    };
    ANSWER.get_or_init(begin).as_ref()
}

#[cfg(windows)]
mod resolve {
    use std::ffi::OsString;

    pub(super) fn environment() -> Result<Vec<(OsString, OsString)>, String> {
        Ok(Vec::new())
    }
}

#[cfg(unix)]
mod resolve {
    use std::{
        env,
        ffi::OsStr,
        os::unix::ffi::{OsStrExt as _, OsStringExt as _},
        path::{Path, PathBuf},
        process::Command,
    };

    use super::*;
    use crate::{
        spawn::environment::ParentEnvironment,
        spec::Inherit,
        sys::{self, Printed},
    };

    /// How long an interactive shell may take, as in VS Code.
    const INTERACTIVE_TIMEOUT: Duration = Duration::from_secs(10);
    /// How long the second try may take, which reads fewer files.
    const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);
    /// The most that the shell may print.
    const LIMIT: usize = 4 * 1024 * 1024;
    /// Tells the user's profile why it runs, so that it can leave out what needs a terminal.
    const RESOLVING: &str = "PILLION_RESOLVING_ENVIRONMENT";
    /// The variables of the shell process itself.
    const OF_THE_SHELL: [&str; 5] = ["_", "PWD", "OLDPWD", "SHLVL", RESOLVING];
    /// The variables of the desktop session, which keep the values of this process.
    const OF_THE_SESSION: [&str; 1] = ["XDG_RUNTIME_DIR"];

    pub(super) fn environment() -> Result<Vec<(OsString, OsString)>, String> {
        let shell = shell()?;
        read(&shell, [INTERACTIVE_TIMEOUT, LOGIN_TIMEOUT])
            .map_err(|why| format!("the login shell {} {why}", shell.display()))
    }

    /// The shell of the user: `SHELL`, or what the user database has (passwd(5)).
    fn shell() -> Result<PathBuf, String> {
        let variable = env::var_os("SHELL").map(PathBuf::from);
        let shell = variable.filter(|shell| shell.is_absolute()).or_else(sys::login_shell);
        shell.ok_or_else(|| "SHELL is not set, and the user database has no login shell".to_owned())
    }

    /// Asks the shell as an interactive one, and then, because what only people need often fails without a terminal, as one that
    /// is not interactive. An error completes the sentence "the login shell …".
    pub(super) fn read(shell: &Path, timeouts: [Duration; 2]) -> Result<Vec<(OsString, OsString)>, String> {
        let mut digits = [0; 16];
        getrandom::fill(&mut digits).map_err(|error| format!("was not started: no random bytes: {error}"))?;
        let mark = format!("{:032x}", u128::from_le_bytes(digits));
        let name = shell.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ways: &[&[&str]] = match name.as_str() {
            // Their -l is valid as the only argument alone (tcsh(1)).
            "csh" | "tcsh" => &[&["-i", "-c"], &["-c"]],
            // One letter each: nushell does not know combined ones.
            _ => &[&["-i", "-l", "-c"], &["-l", "-c"]],
        };
        let mut failures = Vec::new();
        for (options, timeout) in ways.iter().zip(timeouts) {
            let mut command = Command::new(shell);
            command
                .args(*options)
                .arg(script(&mark))
                .env_clear()
                .envs(ParentEnvironment::this().inherited_by(&Inherit::all()))
                .env(RESOLVING, "1");
            if let Some(home) = env::home_dir().filter(|home| home.is_dir()) {
                command.current_dir(home);
            }
            let complete = |output: &[u8]| between(output, &mark).is_some();
            let why = match sys::print_in_own_session(&mut command, timeout, LIMIT, complete) {
                Ok(Printed::Complete(output)) => {
                    let variables = between(&output, &mark).map(parse).unwrap_or_default();
                    if variables.iter().any(|(name, _)| name == "PATH") {
                        return Ok(variables);
                    }
                    "it has no PATH".to_owned()
                }
                Ok(Printed::Exited(exit)) => format!("it {exit}"),
                Ok(Printed::TimedOut) => format!("it did not answer within {timeout:?} and was killed"),
                Ok(Printed::TooMuch) => format!("it printed more than {LIMIT} bytes and was killed"),
                Err(error) => error.to_string(),
            };
            failures.push(format!("with {}: {why}", options.join(" ")));
        }
        Err(format!("did not print its environment ({})", failures.join("; ")))
    }

    /// A command that prints the mark, the variables and the mark. It consists of words that mean the same in every shell: POSIX,
    /// csh, fish and nushell. The inner shell is always POSIX. macOS 12 has no `env -0`.
    fn script(mark: &str) -> String {
        format!(
            "/bin/sh -c 'printf {mark}; /usr/bin/env -0 2>/dev/null || \
             /usr/bin/perl -e \"print map {{ qq(\\$_=\\$ENV{{\\$_}}\\\\0) }} keys %ENV\"; printf {mark}'"
        )
    }

    /// The bytes between the first two marks.
    fn between<'a>(output: &'a [u8], mark: &str) -> Option<&'a [u8]> {
        let find = |bytes: &[u8]| bytes.windows(mark.len()).position(|part| part == mark.as_bytes());
        let inner = &output[find(output)? + mark.len()..];
        Some(&inner[..find(inner)?])
    }

    /// Records that a zero byte ends, because a value may contain newlines.
    fn parse(records: &[u8]) -> Vec<(OsString, OsString)> {
        let own = |name: &str| env::var_os(name).map(|value| (name.into(), value));
        let of_shell = |name: &OsStr| OF_THE_SHELL.iter().chain(&OF_THE_SESSION).any(|other| name == *other);
        let variable = |record: &[u8]| {
            let at = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
            let name = OsString::from_vec(record[..at].to_vec());
            (!of_shell(&name)).then(|| (name, OsStr::from_bytes(&record[at + 1..]).to_owned()))
        };
        let variables = records.split(|byte| *byte == 0).filter_map(variable);
        variables.chain(OF_THE_SESSION.iter().chain(&["PWD"]).filter_map(|name| own(name))).collect()
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

    use tempfile::TempDir;

    use super::*;

    /// Long enough for a slow machine, and short enough to wait for.
    const LONG: Duration = Duration::from_secs(120);

    /// A shell that runs `before`, and then the command as `sh` does.
    fn shell(directory: &TempDir, name: &str, before: &str) -> std::path::PathBuf {
        let file = directory.path().join(name);
        fs::write(
            &file,
            format!("#!/bin/sh\n{before}\nwhile [ $# -gt 1 ]; do shift; done\n/bin/sh -c \"$1\"\n"),
        )
        .unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    fn value(variables: &[(OsString, OsString)], name: &str) -> Option<String> {
        let (_, value) = variables.iter().find(|(other, _)| other == name)?;
        Some(value.to_string_lossy().into_owned())
    }

    #[test]
    fn every_installed_shell_prints_its_environment() {
        for path in [
            "/bin/sh",
            "/bin/dash",
            "/bin/bash",
            "/bin/zsh",
            "/bin/tcsh",
            "/bin/csh",
            "/usr/bin/fish",
            "/usr/bin/ksh",
            "/usr/bin/nu",
        ] {
            if Path::new(path).exists() {
                let variables =
                    resolve::read(Path::new(path), [LONG; 2]).unwrap_or_else(|why| panic!("{path} {why}"));
                assert!(value(&variables, "PATH").is_some(), "{path}: {variables:?}");
                assert_eq!(value(&variables, "SHLVL"), None);
            }
        }
    }

    #[test]
    fn banners_newlines_and_daemons_do_not_disturb() {
        let directory = TempDir::new().unwrap();
        // The daemon holds the output open, as an agent does that a profile starts.
        let before = "echo 'Welcome\\n=x'; A='one\ntwo=2'; B=; export A B; sleep 600 & echo $! >\"$0.pid\"; trap 'echo Bye' EXIT";
        let shell = shell(&directory, "banner", before);
        let variables = resolve::read(&shell, [LONG; 2]).unwrap();
        assert_eq!(value(&variables, "A").as_deref(), Some("one\ntwo=2"));
        assert_eq!(value(&variables, "B").as_deref(), Some(""));
        assert_eq!(value(&variables, "two"), None);
        let daemon = fs::read_to_string(directory.path().join("banner.pid")).unwrap();
        let daemon = rustix::process::Pid::from_raw(daemon.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(daemon, rustix::process::Signal::KILL).expect("the daemon lives on");
    }

    #[test]
    fn a_shell_that_fails_as_an_interactive_one_is_asked_again() {
        let directory = TempDir::new().unwrap();
        let shell = shell(&directory, "moody", "[ \"$1\" = -i ] && exit 3; MOOD=good; export MOOD");
        let variables = resolve::read(&shell, [LONG; 2]).unwrap();
        assert_eq!(value(&variables, "MOOD").as_deref(), Some("good"));
    }

    #[test]
    fn a_shell_that_fails_is_named_with_its_end() {
        let directory = TempDir::new().unwrap();
        for (before, why) in [
            ("exit 1", "exited with code 1"),
            ("kill -KILL $$", "killed by SIGKILL"),
            ("unset PATH", "it has no PATH"),
            ("exec /no/such/shell", "exited with code 127"),
        ] {
            let shell = shell(&directory, "broken", before);
            let error = resolve::read(&shell, [LONG; 2]).unwrap_err();
            assert!(error.contains(why), "{before}: {error}");
        }
        let error = resolve::read(Path::new("/no/such/shell"), [LONG; 2]).unwrap_err();
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_shell_that_hangs_is_killed_with_its_processes() {
        let directory = TempDir::new().unwrap();
        let fifo = directory.path().join("fifo");
        let status = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(status.success());
        let mut shown = String::new();
        // A slow machine may need a longer time until the shell has begun.
        for limit in [300, 3_000, 30_000, 300_000].map(Duration::from_millis) {
            // The shell and its child hold the fifo open.
            let shell = shell(
                &directory,
                "hanging",
                &format!("exec 9>'{}'; echo up >&9; sleep 6000", fifo.display()),
            );
            let nonblocking = rustix::fs::OFlags::NONBLOCK;
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
            let reader = rustix::fs::open(&fifo, flags | nonblocking, rustix::fs::Mode::empty()).unwrap();
            let error = resolve::read(&shell, [limit; 2]).unwrap_err();
            assert!(error.contains("did not answer within"), "{error}");
            rustix::fs::fcntl_setfl(&reader, flags).unwrap();
            // The end comes when no process holds the fifo.
            fs::File::from(reader).read_to_string(&mut shown).unwrap();
            if !shown.is_empty() {
                return;
            }
        }
        panic!("the shell did not begin");
    }
}
