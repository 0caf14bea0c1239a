//! Starts the app of `host.rs`, reads its events, and ends it.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
};

use integration_tests::TEST_TIMEOUT;
use pillion::{State, Status};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    host::{IDENTIFIER, NAME, SECTION},
    page::Declaration,
};

/// The folders of an installed app. Dropping it deletes them.
#[derive(Debug)]
pub(crate) struct Installation {
    /// As a package installs them: `bin/` with the program, `lib/NAME/` with the resources.
    folder: TempDir,
    /// The user's data. It has a short path, because that of a Unix domain socket is limited to 107 bytes (unix(7)).
    data: TempDir,
}

impl Installation {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir_all(folder.path().join("bin")).unwrap();
        fs::create_dir_all(folder.path().join("lib").join(NAME)).unwrap();
        // A link, because the program is large.
        fs::hard_link(env::current_exe().unwrap(), folder.path().join("bin/app")).unwrap();
        Self { folder, data: tempfile::tempdir().unwrap() }
    }

    /// `$RESOURCE`.
    pub(crate) fn resources(&self) -> PathBuf {
        self.folder.path().join("lib").join(NAME)
    }

    /// `$APPDATA`.
    pub(crate) fn app_data(&self) -> PathBuf {
        self.data.path().join(IDENTIFIER)
    }

    /// Starts the app with this declaration. Its time limits are longer than on the page, because a busy machine must not decide a
    /// test. `not_as_root`: a server that refuses to run as root gets another user id in a namespace of its own (`user_namespaces(7)`).
    #[expect(clippy::disallowed_methods, reason = "the test reaps it, and all that it leaves")]
    pub(crate) fn start(&self, declaration: &Declaration, not_as_root: bool) -> App {
        let mut section = declaration.section.clone();
        let sidecar = &mut section["sidecars"][declaration.name()];
        for limit in ["readyTimeoutMs", "graceMs"] {
            sidecar[limit] = u64::try_from(TEST_TIMEOUT.as_millis()).unwrap().into();
        }
        let program = self.folder.path().join("bin/app");
        let mut command = if not_as_root && rustix::process::geteuid().is_root() {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-user=1000", "--map-group=1000", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let mut child = command
            .args(["host::app", "--exact", "--include-ignored", "--nocapture", "--test-threads=1"])
            .env(SECTION, section.to_string())
            .env("XDG_DATA_HOME", self.data.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, events) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok).filter(|line| line.starts_with('{')) {
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        App { child, events, seen: Vec::new() }
    }
}

/// A running app.
#[derive(Debug)]
pub(crate) struct App {
    child: Child,
    events: Receiver<Value>,
    seen: Vec<Value>,
}

impl App {
    /// Waits until a process other than `before` is ready.
    pub(crate) fn ready(&mut self, before: Option<u32>) -> Status {
        self.until("ready", |status| status.state == State::Ready && status.pid != before)
    }

    /// Waits for this status.
    fn until(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        loop {
            let event = match self.events.recv_timeout(TEST_TIMEOUT) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) => panic!("it is not {what}: {:#?}", self.seen),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the app ended before {what}: {:#?}", self.seen)
                }
            };
            let status = event.get("status").map(|status| serde_json::from_value(status.clone()).unwrap());
            self.seen.push(event);
            match status {
                Some(status) if wanted(&status) => return status,
                Some(status) if status.state == State::Failed => panic!("it failed: {:#?}", self.seen),
                _ => {}
            }
        }
    }

    /// Lets the app exit. Returns the last status of the sidecar, and its output.
    pub(crate) fn quit(mut self) -> (Status, Vec<String>) {
        drop(self.child.stdin.take());
        let last = self.until("stopped", |status| status.state == State::Stopped);
        let exit = self.child.wait().unwrap();
        assert!(exit.success(), "the app: {exit}: {:#?}", self.seen);
        let lines = self.seen.iter().filter_map(|event| Some(event.get("line")?.as_str()?.to_owned()));
        (last, lines.collect())
    }

    /// Kills the app, which then can clean up nothing.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Runs a program to its end. Returns its stdout.
pub(crate) fn output(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str], folder: &Path) -> String {
    let mut command = Command::new(&program);
    let output = command.args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display()));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
