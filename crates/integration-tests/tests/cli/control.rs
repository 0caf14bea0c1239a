//! `pillion ps`, `status`, `logs` and `restart`, on running programs of `pillion run`.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use integration_tests::{ProcessTree, ReportServer, Reporter, TestMarker, run};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    streams::read_until,
    support::{FinishedPillion, PILLION, Pillion, tree, words},
};

/// A user with a runtime directory of its own, and the processes that it starts.
pub(crate) struct User {
    pub(crate) tree: ProcessTree,
    runtime: TempDir,
}

impl User {
    pub(crate) fn new() -> Self {
        let runtime = tempfile::tempdir().unwrap();
        fs::set_permissions(runtime.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self { tree: tree(), runtime }
    }

    /// The directory of the sockets.
    pub(crate) fn sockets(&self) -> PathBuf {
        self.runtime.path().join("pillion")
    }

    /// The paths of the sockets.
    pub(crate) fn found(&self) -> Vec<PathBuf> {
        fs::read_dir(self.sockets()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Lets a command be one of this user. The other places where sockets are looked for are those of the user of this test.
    pub(crate) fn environment(&self, command: &mut Command) {
        command
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .env("NO_COLOR", "1")
            .env(TestMarker::VARIABLE, self.tree.marker());
    }

    pub(crate) fn start(&self, arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Pillion {
        let mut command = Command::new(PILLION);
        self.environment(&mut command);
        Pillion::spawn(&self.tree, command, arguments)
    }

    /// `pillion run`, whose sidecar is ready and goes on with these steps.
    pub(crate) async fn app(&self, options: &str, steps: &str) -> (Pillion, Reporter) {
        let reports = ReportServer::new().await;
        let steps = format!("listen ok announce report {} up {steps}", reports.port());
        let mut app = self.start(words(options, &steps));
        let sidecar = reports.wait_for("up").await;
        read_until(app.0.stderr.as_mut().unwrap(), "is ready at").await;
        (app, sidecar)
    }

    /// A command, to its end. The other commands of this crate need no `XDG_RUNTIME_DIR`.
    pub(crate) async fn pillion(&self, arguments: &str) -> FinishedPillion {
        self.start(arguments.split_ascii_whitespace()).end().await
    }

    /// What `pillion ps --json` says of the apps with this process id.
    async fn app_of(&self, pid: u32) -> Option<Value> {
        let ps = self.pillion("ps --json").await;
        assert_eq!(ps.status, 0, "{}", ps.stderr);
        let document: Value = serde_json::from_slice(&ps.stdout).unwrap();
        document["apps"].as_array().unwrap().iter().find(|app| app["pid"] == pid).cloned()
    }
}

fn text(finished: &FinishedPillion) -> String {
    String::from_utf8(finished.stdout.clone()).unwrap()
}

#[test]
fn ps_lists_running_apps_and_no_app_that_has_ended() {
    run(async {
        let user = User::new();
        let (first, mut sidecar) = user.app("--name shop", "wait exit 0").await;
        let (second, _other) = user.app("--name mail --control full", "term exit 0").await;
        let shop = user.app_of(first.pid()).await.unwrap();
        assert_eq!((&shop["name"], &shop["control"]), (&"pillion run".into(), &"read".into()));
        let status = &shop["sidecars"][0];
        assert_eq!((&status["sidecar"], &status["state"]), (&"shop".into(), &"ready".into()));
        assert!(status["pid"].is_u64() && status["port"].is_u64() && status["started"].is_u64(), "{status}");
        assert_eq!(user.app_of(second.pid()).await.unwrap()["control"], "full");

        let table = text(&user.pillion("ps").await);
        let line = table.lines().find(|line| line.contains("shop")).unwrap();
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!(cells[..2], ["pillion", "run"]);
        assert_eq!(cells[2], first.pid().to_string());
        assert_eq!(cells[3..5], ["shop", "ready"]);
        assert!(!table.contains('\x1b'), "{table}");

        let pid = first.pid();
        sidecar.resume().await;
        assert_eq!(first.end().await.status, 0);
        assert!(user.app_of(pid).await.is_none());
        assert_eq!(user.found().len(), 1, "the app has removed its socket");
        second.signal(Signal::TERM);
        second.end().await;
        let none = user.pillion("status --app nothing-like-it").await;
        assert_eq!((none.status, text(&none)), (1, String::new()));
        assert!(none.stderr.contains("runs"), "{}", none.stderr);
    });
}

#[test]
fn the_socket_of_a_killed_app_is_removed_and_never_that_of_a_live_one() {
    run(async {
        let user = User::new();
        let (killed, _sidecar) = user.app("", "term exit 0").await;
        let (live, _other) = user.app("", "term exit 0").await;
        killed.signal(Signal::KILL);
        killed.0.wait_with_output().await.unwrap();
        assert_eq!(user.found().len(), 2, "SIGKILL leaves the file");
        assert!(user.app_of(live.pid()).await.is_some());
        let found = user.found();
        assert!(
            found.len() == 1 && found[0].to_str().unwrap().contains(&live.pid().to_string()),
            "{found:?}"
        );

        // The same by the start of another app, without a look by `ps`.
        let (killed, _sidecar) = user.app("", "term exit 0").await;
        killed.signal(Signal::KILL);
        killed.0.wait_with_output().await.unwrap();
        let (third, _another) = user.app("", "term exit 0").await;
        while user.found().len() > 2 {
            tokio::task::yield_now().await;
        }
        for app in [live, third] {
            assert!(user.app_of(app.pid()).await.is_some());
            app.signal(Signal::TERM);
            app.end().await;
        }
        assert!(user.found().is_empty(), "{:?}", user.found());
    });
}

#[test]
fn several_apps_with_the_same_sidecar_are_listed_instead_of_chosen() {
    run(async {
        let user = User::new();
        let (one, _sidecar) = user.app("--name db", "term exit 0").await;
        let (other, _other) = user.app("--name db", "term exit 0").await;
        let several = user.pillion("logs db").await;
        assert_eq!(several.status, 1);
        assert!(several.stderr.contains("name one with --app"), "{}", several.stderr);
        for app in [&one, &other] {
            let named = format!("process {}): db", app.pid());
            assert!(several.stderr.contains(&named), "{named}: {}", several.stderr);
        }
        let chosen = user.pillion(&format!("status db --app {}", one.pid())).await;
        assert!(text(&chosen).contains("db: ready at http://127.0.0.1:"), "{}", text(&chosen));
        let unknown = user.pillion(&format!("logs no-such-sidecar --app {}", one.pid())).await;
        assert!(unknown.status == 1 && unknown.stderr.contains("\"no-such-sidecar\""), "{}", unknown.stderr);
        for app in [one, other] {
            app.signal(Signal::TERM);
            app.end().await;
        }
    });
}

#[test]
fn a_restart_is_refused_unless_the_app_allows_it() {
    run(async {
        let user = User::new();
        let (read, _sidecar) = user.app("", "term exit 0").await;
        let before = user.app_of(read.pid()).await.unwrap();
        let refused = user.pillion(&format!("restart fake-sidecar --app {}", read.pid())).await;
        assert_eq!((refused.status, text(&refused)), (1, String::new()));
        for cure in [r#""control": "full""#, "--control full"] {
            assert!(refused.stderr.contains(cure), "{}", refused.stderr);
        }
        let after = user.app_of(read.pid()).await.unwrap();
        assert_eq!(before, after, "a refused restart changes nothing");
        read.signal(Signal::TERM);
        read.end().await;
    });
}

#[test]
fn an_allowed_restart_waits_until_the_sidecar_is_ready_again() {
    run(async {
        let user = User::new();
        let reports = ReportServer::new().await;
        let steps = format!("listen ok announce report {} up term exit 0", reports.port());
        let mut app = user.start(words("--control full", &steps));
        let _first = reports.wait_for("up").await;
        read_until(app.0.stderr.as_mut().unwrap(), "is ready at").await;
        let none = user.pillion(&format!("exits --app {}", app.pid())).await;
        assert_eq!((none.status, none.stderr.as_str()), (0, "pillion: no run has ended yet\n"));
        let pid = |app: &Value| app["sidecars"][0]["pid"].as_u64().unwrap();
        let before = pid(&user.app_of(app.pid()).await.unwrap());
        let command = format!("restart fake-sidecar --app {}", app.pid());
        let restarted = user.pillion(&command).await;
        assert_eq!(restarted.status, 0, "{}", restarted.stderr);
        assert!(text(&restarted).contains("is ready at http://127.0.0.1:"), "{}", text(&restarted));
        let after = pid(&user.app_of(app.pid()).await.unwrap());
        assert_ne!(before, after);
        let _second = reports.wait_for("up").await;
        let exits = user.pillion(&format!("exits fake-sidecar --app {}", app.pid())).await;
        assert!(text(&exits).contains("after it was asked to stop for a restart"), "{}", text(&exits));
        let exits = user.pillion(&format!("exits --json --app {}", app.pid())).await;
        let report: Value = serde_json::from_slice(&exits.stdout).unwrap();
        assert_eq!((&report["pid"], &report["reason"]), (&before.into(), &"restart".into()), "{report}");
        app.signal(Signal::TERM);
        app.end().await;
    });
}

#[test]
fn logs_let_a_sidecar_set_colors_and_nothing_else() {
    run(async {
        let user = User::new();
        let text = "\\x1b]0;title\\x07\\x1b[31mred\\x1b[2J\\x1b[?1049h\\n";
        let (mut app, mut sidecar) = user.app("--name shop", &format!("out {text} wait exit 0")).await;
        read_until(app.0.stdout.as_mut().unwrap(), "red").await;
        let mut command = Command::new(PILLION);
        command.env("XDG_RUNTIME_DIR", user.runtime.path()).env("CLICOLOR_FORCE", "1").env_remove("NO_COLOR");
        let pid = app.pid().to_string();
        let logs = Pillion::spawn(&user.tree, command, ["logs", "shop", "--tail", "1", "--app", &pid]);
        let shown = logs.end().await;
        assert_eq!(shown.stdout.escape_ascii().to_string(), "\\x1b[31mred\\x1b[0m\\n");
        sidecar.resume().await;
        app.end().await;
    });
}

#[test]
fn logs_follow_a_sidecar_and_say_when_its_app_was_killed() {
    run(async {
        let user = User::new();
        let (app, mut sidecar) = user.app("--name shop", "log past wait log hello term exit 0").await;
        let mut logs = user.start(["logs", "--follow", "shop", "--app", &app.pid().to_string()]);
        let mut shown = read_until(logs.0.stdout.as_mut().unwrap(), "past").await;
        sidecar.resume().await;
        // To both streams.
        for _ in 0..2 {
            shown += &read_until(logs.0.stdout.as_mut().unwrap(), "hello\n").await;
        }
        // The app reads one stream after the other, in any order.
        let mut lines: Vec<_> = shown.lines().collect();
        lines.sort_unstable();
        assert!(lines[0].starts_with("BACKEND_PORT:"), "{shown}");
        assert_eq!(lines[1..], ["hello", "hello", "past", "past"]);
        let command = format!("logs shop --json --tail 1 --app {}", app.pid());
        let last: Value = serde_json::from_slice(&user.pillion(&command).await.stdout).unwrap();
        assert_eq!(
            (&last["text"], &last["seq"], &last["run"]),
            (&"hello".into(), &5.into(), &1.into()),
            "{last}"
        );
        app.signal(Signal::KILL);
        app.0.wait_with_output().await.unwrap();
        let ended = logs.end().await;
        assert_eq!(ended.status, 1);
        assert!(
            ended.stderr.contains("pillion run (process") && ended.stderr.contains("has ended"),
            "{}",
            ended.stderr
        );
    });
}
