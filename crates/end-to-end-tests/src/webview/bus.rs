//! A D-Bus session of the test's own: on Linux, instances of an app find each other on the session bus.

#![expect(clippy::disallowed_methods, reason = "drop kills the daemon")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// A message bus without services. Drop ends it.
#[derive(Debug)]
pub struct Bus {
    daemon: Child,
    address: String,
    _folder: TempDir,
}

/// Messages start no services: a developer's machine has many of them.
const CONFIGURATION: &str = r#"<busconfig>
  <type>session</type>
  <listen>unix:dir=/tmp</listen>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;

impl Bus {
    /// The environment variable that names the session's bus.
    pub const VARIABLE: &str = "DBUS_SESSION_BUS_ADDRESS";

    /// The value that disables the session bus: an address with an unknown transport. If the variable were unset, D-Bus would
    /// find the developer's own session below `XDG_RUNTIME_DIR`.
    pub const NONE: &str = "disabled:";

    /// Starts a bus, and waits until it accepts connections: it prints its address then (`dbus-daemon(1)`).
    ///
    /// # Errors
    /// `dbus-daemon` is not installed, or ended at once.
    pub fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let configuration = folder.path().join("bus.conf");
        fs::write(&configuration, CONFIGURATION)?;
        let mut daemon = Command::new("dbus-daemon")
            .arg("--config-file")
            .arg(&configuration)
            .args(["--nofork", "--nopidfile", "--print-address"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start dbus-daemon")?;
        let mut address = String::new();
        if let Some(stdout) = daemon.stdout.take() {
            BufReader::new(stdout).read_line(&mut address)?;
        }
        let bus = Self { daemon, address: address.trim_end().to_owned(), _folder: folder };
        ensure!(!bus.address.is_empty(), "dbus-daemon ended before it had an address");
        Ok(bus)
    }

    /// The value for [`Bus::VARIABLE`].
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
