//! A real app in its real webview, driven from outside: WebDriver for the page, X11 for a person's actions on the window, and
//! `/proc` for the remaining processes. Linux only, as `WebKitWebDriver` is.

mod aios;
mod bus;
mod colour;
mod driver;
mod fake_app;
mod page;
mod window;

use std::{io, path::Path, time::Instant};

use anyhow::{Context, Result};

pub use aios::launch_aios_with_node_backend;
pub use bus::Bus;
pub use colour::Hue;
pub use fake_app::{client_script, launch_fake_app, launch_fake_app_on_demand, launch_fake_app_to_die};
pub use page::{Page, ShownState};
pub use window::WatchedWindow;

use driver::DriverProcess;
use integration_tests::{LiveProcess, TEST_TIMEOUT, TestMarker};
use rustix::process::Signal;
use tempfile::TempDir;
use window::Window;

/// The running app. Drop ends the driver and all remaining processes of the app.
#[derive(Debug)]
pub struct App {
    page: Page,
    marker: TestMarker,
    _driver: DriverProcess,
    /// The app's data, caches and settings, apart from those of the developer.
    _home: TempDir,
}

impl App {
    /// Starts the program at `app` under `WebKitWebDriver`, and waits until its page has loaded. Without a session bus the app cannot
    /// find another instance.
    ///
    /// # Errors
    /// The driver or the app did not start, or no page loaded.
    pub async fn launch(app: &Path) -> Result<Self> {
        Self::launch_at(app, Bus::NONE).await
    }

    /// Like [`Self::launch`], with this session bus.
    ///
    /// # Errors
    /// As above.
    pub async fn launch_on(bus: &Bus, app: &Path) -> Result<Self> {
        Self::launch_at(app, bus.address()).await
    }

    async fn launch_at(app: &Path, bus: &str) -> Result<Self> {
        let app = app.canonicalize().with_context(|| format!("no app at {}", app.display()))?;
        let home = tempfile::tempdir()?;
        let marker = TestMarker::new()?;
        let driver = DriverProcess::start(&marker, home.path(), bus).await?;
        let page = Page::open(&driver, &app).await?;
        Ok(Self { page, marker, _driver: driver, _home: home })
    }

    /// The page in the window.
    #[must_use]
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// The live processes of the app: the shell, its backend and the webview's helpers, without the driver.
    ///
    /// # Errors
    /// `/proc` could not be read.
    pub fn processes(&self) -> io::Result<Vec<LiveProcess>> {
        let mut alive = self.marker.alive()?;
        alive.retain(|process| !process.runs(driver::PROGRAM));
        Ok(alive)
    }

    /// Resizes the content of the window to this number of pixels, and waits until the page has its new layout.
    ///
    /// # Errors
    /// There is no window, or the page kept its size.
    pub async fn resize(&self, width: u32, height: u32) -> Result<()> {
        Window::of(&self.processes()?)?.resize(width, height)?;
        self.page.sized(width, height).await
    }

    /// Takes the keyboard focus from the app's window, and watches the window.
    ///
    /// # Errors
    /// There is no window.
    pub fn watch_window(&self) -> Result<WatchedWindow> {
        Window::of(&self.processes()?)?.watch()
    }

    /// Closes the window as a person does, and waits until every process of the app has ended. Returns those that have not.
    ///
    /// # Errors
    /// There is no window, or `/proc` could not be read.
    pub async fn close(self) -> Result<Vec<LiveProcess>> {
        Window::of(&self.processes()?)?.close()?;
        self.end().await
    }

    /// Waits until every process of the app has ended. Returns those that have not. The caller has ended the app before.
    ///
    /// # Errors
    /// `/proc` could not be read.
    pub async fn end(self) -> Result<Vec<LiveProcess>> {
        tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + TEST_TIMEOUT;
            loop {
                // A process that ends may have started another one: an app that restarts itself does.
                let processes = self.processes()?;
                let ended = processes.iter().all(|process| process.ends_before(deadline));
                if processes.is_empty() || !ended || Instant::now() >= deadline {
                    return Ok(processes);
                }
            }
        })
        .await?
    }
}

impl Drop for App {
    /// A failed test closes no window. No process of the app may outlive it.
    fn drop(&mut self) {
        let Ok(processes) = self.processes() else { return };
        for process in &processes {
            // It may have ended in the meantime.
            let _ = process.signal(Signal::KILL);
        }
        wait_for_end(&processes);
    }
}

/// Waits until all of them have ended, or until the time limit.
fn wait_for_end(processes: &[LiveProcess]) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    let _ = processes.iter().all(|process| process.ends_before(deadline));
}
