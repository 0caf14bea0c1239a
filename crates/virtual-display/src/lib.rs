//! A virtual X server (Xvfb), for `cargo xtask` and the benchmark: no other window lies in front of the app's window.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// A virtual X server. It ends when this value is dropped, or when this process ends.
#[derive(Debug)]
pub struct Xvfb {
    server: Child,
    name: String,
}

impl Xvfb {
    /// Starts a server with this screen, for example `1280x800x24`, and waits until it accepts connections. The server picks
    /// a free display number and writes it to its stdout when it is ready (`-displayfd` in Xserver(1)), so that two runs never
    /// use the same number.
    ///
    /// Without `-noreset`, the server starts anew when its last client disconnects, and refuses a client that connects meanwhile: an
    /// app that restarts itself is one.
    ///
    /// # Errors
    /// Xvfb is not installed, or exited before it had a display.
    pub fn start(screen: &str) -> Result<Self> {
        let mut command = dies_with_this_process("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", screen, "-nolisten", "tcp", "-noreset"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        #[expect(clippy::disallowed_methods, reason = "drop ends the server")]
        let mut server = command.spawn().context("cannot start Xvfb")?;
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

    /// The value for `DISPLAY`, for example `:99`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
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
/// of util-linux is installed, it sets the parent-death signal, so that the process also ends if this one is killed.
fn dies_with_this_process(program: &str) -> Command {
    let folders = env::var_os("PATH").unwrap_or_default();
    let mut command = if env::split_paths(&folders).any(|folder| folder.join("setpriv").is_file()) {
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
