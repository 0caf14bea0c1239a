//! The real app in its real webview, driven from outside: WebDriver for what is on the page, X11 for what a person does
//! to the window, `/proc` for what is left afterwards. Linux only, as `WebKitWebDriver` is.

mod bus;
mod colour;
mod driver;
mod fake_app;
mod page;
mod window;

use std::{io, path::Path, time::Instant};

use anyhow::{Context, Result};

pub use bus::Bus;
pub use colour::Hue;
pub use driver::Driver;
pub use fake_app::launch_fake_app;
pub use page::{Page, ShownState};
pub use window::WatchedWindow;

use driver::DriverProcess;
use integration_tests::{LiveProcess, ProcessMarker, TEST_TIMEOUT};
use rustix::process::Signal;
use tempfile::TempDir;
use window::Window;

/// The app, running. Dropping it ends the driver and whatever is left of the app.
#[derive(Debug)]
pub struct App {
    page: Page,
    marker: ProcessMarker,
    _driver: DriverProcess,
    /// The app's data, caches and settings; the developer's own are not touched.
    _home: TempDir,
}

impl App {
    /// Starts the program at `app` under `driver`, and waits until its page has loaded. There is no session bus, so that
    /// it knows of no other instance.
    ///
    /// # Errors
    /// The driver or the app did not start, or no page came.
    pub async fn launch(driver: Driver, app: &Path) -> Result<Self> {
        Self::launch_at(driver, app, Bus::NONE).await
    }

    /// The same in the session of this bus.
    ///
    /// # Errors
    /// As above.
    pub async fn launch_on(bus: &Bus, driver: Driver, app: &Path) -> Result<Self> {
        Self::launch_at(driver, app, bus.address()).await
    }

    async fn launch_at(driver: Driver, app: &Path, bus: &str) -> Result<Self> {
        let app = app.canonicalize().with_context(|| format!("there is no app at {}", app.display()))?;
        let home = tempfile::tempdir()?;
        let marker = ProcessMarker::new()?;
        let driver = DriverProcess::start(&driver, &marker, home.path(), bus).await?;
        let page = Page::open(&driver, &app).await?;
        Ok(Self { page, marker, _driver: driver, _home: home })
    }

    /// What the window shows.
    #[must_use]
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// The processes of the app that are alive: the shell, its backend and the webview's helpers, but not the drivers.
    ///
    /// # Errors
    /// They could not be looked for.
    pub fn processes(&self) -> io::Result<Vec<LiveProcess>> {
        let mut alive = self.marker.alive()?;
        alive.retain(|process| !driver::PROGRAMS.iter().any(|driver| process.runs(driver)));
        Ok(alive)
    }

    /// Makes the window's inside this many pixels wide and high, and waits until the page is laid out anew.
    ///
    /// # Errors
    /// There is no such window, or the page kept its size.
    pub async fn resize(&self, width: u32, height: u32) -> Result<()> {
        Window::of(&self.processes()?)?.resize(width, height)?;
        self.page.sized(width, height).await
    }

    /// The app's window, to be watched. It loses the keyboard.
    ///
    /// # Errors
    /// There is none.
    pub fn watch_window(&self) -> Result<WatchedWindow> {
        Window::of(&self.processes()?)?.watch()
    }

    /// Closes the window as a person does it, and waits until every process that the app consisted of has ended.
    /// Answers those that have not, which is nobody's wish.
    ///
    /// # Errors
    /// There is no window, or the processes could not be looked for.
    pub async fn close(self) -> Result<Vec<LiveProcess>> {
        Window::of(&self.processes()?)?.close()?;
        self.end().await
    }

    /// Waits until every process that the app consists of has ended, and answers those that have not. Something must have
    /// been done to the app before.
    ///
    /// # Errors
    /// The processes could not be looked for.
    pub async fn end(self) -> Result<Vec<LiveProcess>> {
        let processes = self.processes()?;
        tokio::task::spawn_blocking(move || {
            wait_for_end(&processes);
            // What was started in the meantime counts as well.
            Ok(self.processes()?)
        })
        .await?
    }
}

impl Drop for App {
    /// A test that fails half-way closes no window. Nothing of the app may outlive it all the same.
    fn drop(&mut self) {
        let Ok(processes) = self.processes() else { return };
        for process in &processes {
            // One that has just ended cannot be killed, and need not be.
            let _ = process.signal(Signal::KILL);
        }
        wait_for_end(&processes);
    }
}

/// Waits until all of them have ended, or have had the time for it.
fn wait_for_end(processes: &[LiveProcess]) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    let _ = processes.iter().all(|process| process.ends_before(deadline));
}
