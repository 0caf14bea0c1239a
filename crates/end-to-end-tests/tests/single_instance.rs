//! AIOS launched a second time, in a session of the test's own. `cargo xtask test` provides the app (`AIOS_APP`),
//! a bus and a display.

#![cfg(target_os = "linux")]

use std::{env, fs, mem::MaybeUninit, os::fd::OwnedFd, path::PathBuf, process::Stdio, sync::Arc};

use anyhow::{Context, Result, ensure};
use end_to_end_tests::webview::{App, Bus, ShownState};
use integration_tests::{LiveProcess, TEST_TIMEOUT, TestMarker};
use rustix::{
    fs::inotify::{self, CreateFlags, WatchFlags},
    io::Errno,
    process::Signal,
};
use tempfile::TempDir;
use tokio::{process::Command, task::spawn_blocking, time::timeout};

const PROCESS: &str = "[data-testid=backend-pid]";

/// The backend's program, as the Linux package names it.
const BACKEND: &str = "aios-backend";

/// A copy of the installed app in its own folder.
struct Installed {
    folder: TempDir,
    /// Notifies of each open of the backend's program. The kernel opens it to run it.
    opened: OwnedFd,
}

impl Installed {
    fn copy() -> Result<Self> {
        let built = PathBuf::from(env::var_os("AIOS_APP").context("use `cargo xtask test`")?);
        let folder = tempfile::tempdir()?;
        let backend = folder.path().join(BACKEND);
        fs::copy(&built, folder.path().join("aios"))?;
        fs::copy(built.with_file_name(BACKEND), &backend)?;
        let opened = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&opened, &backend, WatchFlags::OPEN)?;
        Ok(Self { folder, opened })
    }

    fn app(&self) -> PathBuf {
        self.folder.path().join("aios")
    }

    /// Launches the app while an instance is running. This launch must end by itself, and start no process.
    async fn launch_second_instance(&self, bus: &Bus) -> Result<()> {
        let marker = TestMarker::new()?;
        #[expect(clippy::disallowed_methods, reason = "drop kills it")]
        let mut launch = Command::new(self.app())
            .env(Bus::VARIABLE, bus.address())
            .env(TestMarker::VARIABLE, marker.value())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let status =
            timeout(TEST_TIMEOUT, launch.wait()).await.context("the second launch does not end")??;
        ensure!(status.success(), "the second launch: {status}");
        let left = marker.alive()?;
        ensure!(left.is_empty(), "the second launch left {left:?}");
        ensure!(!self.has_started_its_backend()?, "the second launch has started a backend");
        Ok(())
    }

    /// Whether this copy has ever started its backend.
    fn has_started_its_backend(&self) -> Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut events = inotify::Reader::new(&self.opened, &mut buffer);
        match events.next() {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn find(app: &App, program: &str) -> Result<LiveProcess> {
    let processes = app.processes()?;
    let names = format!("{processes:?}");
    processes
        .into_iter()
        .find(|process| process.runs(program))
        .with_context(|| format!("no {program} among {names}"))
}

#[tokio::test]
#[ignore = "needs the built app, a bus and a display: cargo xtask test"]
async fn a_second_launch_starts_nothing_and_shows_the_first_window() -> Result<()> {
    let (first, second, bus) = (Installed::copy()?, Installed::copy()?, Bus::start()?);
    let app = App::launch_on(&bus, &first.app()).await?;
    let page = app.page();
    page.wait_for_state(ShownState::Connected).await?;
    let (backend, process) = (find(&app, BACKEND)?.pid, page.text(PROCESS).await?);
    assert!(first.has_started_its_backend()?, "inotify does not report the start");
    let window = Arc::new(app.watch_window()?);

    // First behind another window, then minimised.
    second.launch_second_instance(&bus).await?;
    let seen = Arc::clone(&window);
    spawn_blocking(move || seen.has_keyboard()).await??;
    window.minimise()?;
    second.launch_second_instance(&bus).await?;
    spawn_blocking(move || window.is_back()).await??;

    page.wait_for_state(ShownState::Connected).await?;
    assert_eq!(page.text(PROCESS).await?, process);
    assert_eq!(find(&app, BACKEND)?.pid, backend);
    let left = app.close().await?;
    assert!(left.is_empty(), "these outlive the app: {left:?}");

    // After the end of the first instance the second copy starts its backend. This shows that the check above can fail.
    let app = App::launch_on(&bus, &second.app()).await?;
    app.page().wait_for_state(ShownState::Connected).await?;
    assert!(second.has_started_its_backend()?);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the built app, a bus and a display: cargo xtask test"]
async fn after_a_kill_the_next_launch_is_the_first_instance() -> Result<()> {
    let (installed, bus) = (Installed::copy()?, Bus::start()?);
    let app = App::launch_on(&bus, &installed.app()).await?;
    app.page().wait_for_state(ShownState::Connected).await?;
    find(&app, "aios")?.signal(Signal::KILL)?;
    let left = app.end().await?;
    assert!(left.is_empty(), "these outlive the app: {left:?}");

    let app = App::launch_on(&bus, &installed.app()).await?;
    app.page().wait_for_state(ShownState::Connected).await?;
    find(&app, BACKEND)?;
    Ok(())
}
