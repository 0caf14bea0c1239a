//! The display for the app's window: the developer's own, or a virtual one (Xvfb).

#![expect(clippy::disallowed_methods, reason = "`Xvfb` owns the child that it starts, and stops it on drop")]

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::workspace::on_path;

/// A virtual X server. It ends when this value is dropped, or when this process ends.
#[derive(Debug)]
pub(crate) struct Xvfb {
    server: Child,
    /// The value for `DISPLAY`, for example `:99`.
    pub(crate) name: String,
}

/// Returns whether this session has a display.
pub(crate) fn is_available() -> bool {
    cfg!(not(target_os = "linux"))
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

impl Xvfb {
    /// Starts a server and waits until it accepts connections. The server picks a free display number and writes it to
    /// its stdout when it is ready (`-displayfd` in Xserver(1)), so that two runs never use the same number.
    pub(crate) fn start() -> Result<Self> {
        let mut command = dies_with_this_process("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "1800x1200x24", "-nolisten", "tcp"]);
        let mut server = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start Xvfb")?;
        let mut number = String::new();
        if let Some(stdout) = server.stdout.take() {
            BufReader::new(stdout).read_line(&mut number)?;
        }
        let display = Self { server, name: format!(":{}", number.trim()) };
        if number.trim().is_empty() {
            bail!("Xvfb exited before it had a display: run `Xvfb -displayfd 1` to see the reason");
        }
        Ok(display)
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        // On SIGTERM, the server removes its lock file and socket from /tmp.
        #[cfg(unix)]
        if let Ok(pid) = i32::try_from(self.server.id())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.server.wait();
    }
}

/// Returns a command whose process has a group of its own, so that Ctrl-C ends the app before its display. Where setpriv(1)
/// of util-linux is installed, it sets the parent-death signal, so that the process also ends if xtask is killed.
fn dies_with_this_process(program: &str) -> Command {
    let mut command = if on_path("setpriv").is_some() {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--", program]);
        command
    } else {
        Command::new(program)
    };
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}
