//! The WebDriver server between the test and the webview.

#![expect(clippy::disallowed_methods, reason = "drop ends the driver")]

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::sleep};

use super::Bus;
use integration_tests::{TEST_TIMEOUT, TestMarker};

/// The program of the driver. It does not belong to the app that it starts.
pub(super) const PROGRAM: &str = "WebKitWebDriver";

/// The capability that names the program to drive.
pub(super) fn application(app: &Path) -> (String, Value) {
    ("webkitgtk:browserOptions".to_owned(), json!({ "binary": app, "args": [] }))
}

/// A driver that accepts sessions.
#[derive(Debug)]
pub(super) struct DriverProcess {
    pub(super) url: String,
    child: Child,
}

impl DriverProcess {
    /// Starts the driver. The app inherits its environment: the marker, a home directory of its own, and the session bus.
    pub(super) async fn start(marker: &TestMarker, home: &Path, bus: &str) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(PROGRAM);
        command.args(["--host=127.0.0.1".to_owned(), format!("--port={port}")]);
        // Tauri allows automation only with a variable: TAURI_AUTOMATION in 1.x, the other one in 2.x.
        command.env("TAURI_AUTOMATION", "true").env("TAURI_WEBVIEW_AUTOMATION", "true");
        command.env(TestMarker::VARIABLE, marker.value()).env(Bus::VARIABLE, bus);
        for variable in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env(variable, home.join(variable));
        }
        let child =
            command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {command:?}"))?;
        let mut running = Self { url: format!("http://127.0.0.1:{port}"), child };
        running.accepts(port).await?;
        Ok(running)
    }

    /// Waits until the driver accepts connections. It does not report that; therefore this polls.
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
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// A port that is free at the moment. The driver neither chooses a port itself nor accepts a listener.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
