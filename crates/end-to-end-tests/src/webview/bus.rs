//! A session of the app's own: on Linux, instances of an app find each other on the session's D-Bus.

#![expect(clippy::disallowed_methods, reason = "the daemon is owned here, and ended on drop")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// A message bus without any service, which ends with this value.
#[derive(Debug)]
pub struct Bus {
    daemon: Child,
    address: String,
    _folder: TempDir,
}

/// No service may be started by a message: on a developer's machine there are many.
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

    /// What it is set to where there is to be none: an address of no transport that D-Bus knows. Where the variable is unset,
    /// the developer's own session is found all the same, below `XDG_RUNTIME_DIR`.
    pub const NONE: &str = "disabled:";

    /// Starts one, and waits until it takes connections: that is when it prints its address (`dbus-daemon(1)`).
    ///
    /// # Errors
    /// There is no `dbus-daemon`, or it ended at once.
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

    /// What to set [`Bus::VARIABLE`] to.
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
