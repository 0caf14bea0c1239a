//! A display in memory, so that no window of the developer's lies in front of the measured one.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Signal, kill_process};

use super::child::pid;

/// An X server in memory, which ends with this value.
#[derive(Debug)]
pub(crate) struct Xvfb {
    server: Child,
    /// Its name for `DISPLAY`.
    pub(crate) name: String,
}

impl Xvfb {
    /// Waits until the server takes connections, which is when it writes its number (`-displayfd`, Xserver(1)).
    pub(crate) fn start() -> Result<Self> {
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "1280x800x24", "-nolisten", "tcp"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        #[expect(clippy::disallowed_methods, reason = "the server is owned here, and ended on drop")]
        let server = command.spawn().context("no Xvfb")?;
        let mut display = Self { server, name: String::new() };
        let mut number = String::new();
        BufReader::new(display.server.stdout.take().context("stdout was not piped")?)
            .read_line(&mut number)?;
        ensure!(number.ends_with('\n'), "Xvfb ended before it had a display");
        display.name = format!(":{}", number.trim());
        Ok(display)
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        // Asked nicely, it removes its lock file and socket.
        if let Ok(pid) = pid(self.server.id()) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.server.wait();
    }
}
