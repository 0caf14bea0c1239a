//! The WebDriver server between the test and the webview.

#![expect(clippy::disallowed_methods, reason = "drop ends the driver")]

use std::{
    env, io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::sleep};

use super::Bus;
use integration_tests::{TEST_TIMEOUT, TestMarker};

/// The programs of the drivers themselves. They do not belong to the app that they start.
pub(super) const PROGRAMS: [&str; 2] = ["tauri-driver", "WebKitWebDriver"];

/// The WebDriver server to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverKind {
    /// Tauri's front end of the platform's driver, at this path: <https://v2.tauri.app/develop/tests/webdriver/>.
    Tauri(PathBuf),
    /// `WebKitWebDriver` from the `PATH`, with the two variables that tauri-driver would set.
    WebKit,
}

impl DriverKind {
    /// The tauri-driver that `TAURI_DRIVER` names, or that in the `PATH`.
    #[must_use]
    pub fn tauri() -> Self {
        Self::Tauri(env::var_os("TAURI_DRIVER").map_or_else(|| "tauri-driver".into(), PathBuf::from))
    }

    /// The command, and the ports on which it will listen. The test uses the first one.
    fn command(&self) -> Result<(Command, Vec<u16>)> {
        let [port, native] = free_ports()?;
        Ok(match self {
            Self::Tauri(program) => {
                let mut command = Command::new(program);
                command.args([format!("--port={port}"), format!("--native-port={native}")]);
                (command, vec![port, native])
            }
            Self::WebKit => {
                let mut command = Command::new("WebKitWebDriver");
                // Tauri allows automation only with a variable: TAURI_AUTOMATION in 1.x, the other one in 2.x.
                command.env("TAURI_AUTOMATION", "true").env("TAURI_WEBVIEW_AUTOMATION", "true");
                command.args(["--host=127.0.0.1".to_owned(), format!("--port={port}")]);
                (command, vec![port])
            }
        })
    }

    /// The capability that names the program to drive.
    pub(super) fn application(&self, app: &Path) -> (String, Value) {
        match self {
            Self::Tauri(_) => ("tauri:options".to_owned(), json!({ "application": app, "args": [] })),
            Self::WebKit => ("webkitgtk:browserOptions".to_owned(), json!({ "binary": app, "args": [] })),
        }
    }
}

/// A driver that accepts sessions.
#[derive(Debug)]
pub(super) struct DriverProcess {
    pub(super) kind: DriverKind,
    pub(super) url: String,
    child: Child,
}

impl DriverProcess {
    /// Starts the driver. The app inherits its environment: the marker, a home directory of its own, and the session bus.
    pub(super) async fn start(
        kind: &DriverKind,
        marker: &TestMarker,
        home: &Path,
        bus: &str,
    ) -> Result<Self> {
        let (mut command, ports) = kind.command()?;
        command.env(TestMarker::VARIABLE, marker.value()).env(Bus::VARIABLE, bus);
        for variable in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env(variable, home.join(variable));
        }
        let child =
            command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {command:?}"))?;
        let url = format!("http://127.0.0.1:{}", ports[0]);
        let mut running = Self { kind: kind.clone(), url, child };
        for port in ports {
            running.accepts(port).await?;
        }
        Ok(running)
    }

    /// Waits until the driver accepts connections. Drivers do not report that; therefore this polls.
    async fn accepts(&mut self, port: u16) -> Result<()> {
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the WebDriver server ended at once: {status}");
            }
            if begun.elapsed() > TEST_TIMEOUT {
                bail!("the WebDriver server accepted no connection within {TEST_TIMEOUT:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for DriverProcess {
    fn drop(&mut self) {
        // On SIGTERM, tauri-driver ends the driver behind it.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// Ports that are free at the moment. The drivers neither choose a port themselves nor accept a listener.
fn free_ports() -> io::Result<[u16; 2]> {
    let listeners =
        [TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?];
    Ok([listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()])
}
