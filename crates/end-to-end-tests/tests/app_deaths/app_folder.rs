//! The installed app, with its sidecars beside it.

use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Stdio};

use end_to_end_tests::webview::Bus;
use integration_tests::{ProcessTree, ReportServer, TestMarker, helper_program, orphans::Programs};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A folder with `fake-app` and its possible sidecars: `fake-sidecar`, and `sh` as a wrapper.
pub(crate) struct AppFolder(TempDir);

/// A running app.
pub(crate) struct RunningApp {
    pub(crate) tree: ProcessTree,
    pub(crate) child: Child,
}

impl AppFolder {
    pub(crate) fn new() -> Self {
        let sidecar = helper_program("fake-sidecar").unwrap();
        // On the file system of the app, so that a hard link is possible: the app would resolve a symbolic link.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let app = sidecar.with_file_name("fake-app");
        fs::hard_link(&app, folder.path().join("fake-app")).unwrap_or_else(|error| {
            panic!("{}: {error}; `cargo xtask test` builds it", app.display());
        });
        symlink(&sidecar, folder.path().join("fake-sidecar")).unwrap();
        symlink("/bin/sh", folder.path().join("sh")).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn programs(&self) -> Programs {
        Programs { sidecar: self.path("fake-sidecar"), ..Programs::built().unwrap() }
    }

    /// Starts the app with this death. A restarted app dies by `again`, or ends at once.
    pub(crate) fn start(
        &self,
        reports: &ReportServer,
        grace_ms: u32,
        death: &str,
        again: Option<&str>,
        steps: &str,
    ) -> RunningApp {
        self.start_with(reports, grace_ms, death, steps, |command| {
            command.envs(again.map(|death| ("FAKE_APP_AGAIN", death)));
        })
    }

    /// Starts the app with a change of its command.
    #[expect(clippy::disallowed_methods, reason = "the tree kills what remains")]
    pub(crate) fn start_with(
        &self,
        reports: &ReportServer,
        grace_ms: u32,
        death: &str,
        steps: &str,
        change: impl FnOnce(&mut Command),
    ) -> RunningApp {
        let tree = ProcessTree::new(self.path("fake-sidecar"));
        let moment = if death == "timeout" { "starting" } else { "ready" };
        let mut command = Command::new(self.path("fake-app"));
        command
            .args([&grace_ms.to_string(), &reports.port().to_string(), moment, death, "fake-sidecar"])
            .args(steps.split_ascii_whitespace())
            .env(TestMarker::VARIABLE, tree.marker())
            .env(Bus::VARIABLE, Bus::NONE)
            .stdin(Stdio::null());
        change(&mut command);
        RunningApp { tree, child: command.spawn().unwrap() }
    }
}

impl RunningApp {
    /// The processes of its sidecar.
    pub(crate) fn sidecars(&self) -> Vec<integration_tests::LiveProcess> {
        let mut alive = self.tree.alive();
        alive.retain(|process| process.runs("fake-sidecar"));
        alive
    }
}
