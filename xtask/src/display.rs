//! A display for the window: the developer's own, or one in memory.

#![expect(clippy::disallowed_methods, reason = "xtask owns the one child it starts, and ends it on drop")]

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::workspace::on_path;

/// An X server in memory, which ends with this value or with this process, whichever is first.
#[derive(Debug)]
pub(crate) struct Xvfb {
    server: Child,
    /// Its name for `DISPLAY`, such as `:99`.
    pub(crate) name: String,
}

/// Whether windows can be shown without our help.
pub(crate) fn is_there() -> bool {
    cfg!(not(target_os = "linux"))
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

impl Xvfb {
    /// Starts a server on a display number of its own choice and waits until it takes connections: that is when it
    /// writes the number (`-displayfd` in Xserver(1)). Nothing is left to guess, and two runs never collide.
    pub(crate) fn start() -> Result<Self> {
        let mut command = tied_to_us("Xvfb");
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
            bail!("Xvfb ended before it had a display; run it by hand to see why");
        }
        Ok(display)
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        // Asked nicely, the server removes its lock file and socket from /tmp.
        #[cfg(unix)]
        if let Ok(pid) = i32::try_from(self.server.id())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.server.wait();
    }
}

/// A command whose process is in a group of its own, so that Ctrl-C ends the app before its display, and that dies with
/// us even when we are killed: setpriv(1) arms the parent-death signal where util-linux has it.
fn tied_to_us(program: &str) -> Command {
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
