//! The main promises on every Unix: without `/proc`, and without tools that macOS lacks. All processes of a sidecar hold a named pipe, whose
//! end tells a test that none is left.

#![cfg(unix)]
#![expect(clippy::disallowed_methods, reason = "pillion is the program under test")]
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing there")]

use std::{
    env,
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
};

use integration_tests::{TEST_TIMEOUT, helper_program};
use rustix::process::{Pid, Signal, kill_process};

/// `pillion run` with a shell that executes a script. The descriptor 3 of the shell is the pipe.
struct Run {
    host: Child,
    lines: Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Run {
    fn start(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let host = Command::new(helper_program("pillion-under-test").unwrap())
            .args(["run", "--json", "--no-control", "--ready", "started", "--grace", "120s", "--"])
            .args(["sh", "-c", &format!("exec 3>\"$PIPE\"; {script}")])
            .env("PIPE", &pipe)
            .env("TEST", env::current_exe().unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            // Waits until the shell has opened it, too.
            let lines = BufReader::new(File::open(pipe).unwrap()).lines();
            lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { host, lines, _folder: folder }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(TEST_TIMEOUT).unwrap()
    }

    /// Waits until no process holds the pipe. Returns the lines before that.
    fn rest(&self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(TEST_TIMEOUT) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => panic!("a process survives, after {lines:?}"),
            }
        }
    }

    /// Waits until the app knows that the sidecar runs: if its guard dies before that, another one starts it again.
    fn until_ready(&mut self) {
        let events = BufReader::new(self.host.stdout.as_mut().unwrap());
        assert!(events.lines().map_while(Result::ok).any(|event| event.contains("\"ready\"")));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.host), signal).unwrap();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.host.kill();
        let _ = self.host.wait();
    }
}

/// Goes on for ever, with a child. `wait` returns for a trap.
const WAITS: &str = "while :; do sleep 1000 & wait $!; done";

#[test]
fn the_sidecar_of_a_killed_app_is_asked_to_stop_and_nothing_is_left() {
    let run = Run::start(&format!("trap 'echo asked >&3; exit' TERM; echo up >&3; {WAITS}"));
    assert_eq!(run.line(), "up");
    run.signal(Signal::KILL);
    assert_eq!(run.rest(), ["asked"]);
}

#[test]
fn a_signal_to_the_app_ends_its_sidecar_before_it() {
    let mut run = Run::start(&format!("trap 'echo asked >&3; exit 7' TERM; echo up >&3; {WAITS}"));
    assert_eq!(run.line(), "up");
    run.signal(Signal::TERM);
    assert_eq!(run.rest(), ["asked"]);
    assert_eq!(run.host.wait().unwrap().code(), Some(7));
}

#[test]
#[ignore = "the daemon of another test"]
fn is_a_daemon() {
    writeln!(File::options().write(true).open("/dev/fd/3").unwrap(), "daemon").unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn a_daemon_in_a_session_of_its_own_ends_with_the_app() {
    // Not a program of macOS, whose environment the system hides.
    let daemon = "perl -MPOSIX -e 'exit if fork; POSIX::setsid(); exit if fork; exec @ARGV' \
                  \"$TEST\" --ignored --exact is_a_daemon --nocapture";
    let run = Run::start(&format!("{daemon}; {WAITS}"));
    assert_eq!(run.line(), "daemon");
    run.signal(Signal::KILL);
    assert_eq!(run.rest(), [""; 0]);
}

#[test]
fn nothing_survives_a_killed_guard() {
    let mut run = Run::start(&format!("trap '' TERM; echo $PPID >&3; {WAITS}"));
    let guard = Pid::from_raw(run.line().parse().unwrap()).unwrap();
    assert_ne!(guard, Pid::from_child(&run.host), "there is no guard");
    run.until_ready();
    kill_process(guard, Signal::KILL).unwrap();
    assert_eq!(run.rest(), [""; 0]);
    assert!(!run.host.wait().unwrap().success());
}
