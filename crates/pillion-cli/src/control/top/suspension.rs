//! Job control: `pillion top` gives the terminal back while it is stopped.

use std::io;

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{self, SignalKind, signal};

use super::screen::Screen;

/// The signals that stop this program and let it go on. In the terminal Ctrl-Z is a key like others while this program uses it: SIGTSTP comes
/// from outside.
pub(super) struct Suspension {
    stop: unix::Signal,
    go_on: unix::Signal,
}

/// What has come.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Stop,
    GoOn,
}

impl Suspension {
    pub(super) fn new() -> io::Result<Self> {
        let of = |raw: Signal| signal(SignalKind::from_raw(raw.as_raw()));
        Ok(Self { stop: of(Signal::TSTP)?, go_on: of(Signal::CONT)? })
    }

    /// Waits for one of the signals. Cancel-safe.
    pub(super) async fn next(&mut self) -> Change {
        tokio::select! {
            _ = self.stop.recv() => Change::Stop,
            _ = self.go_on.recv() => Change::GoOn,
        }
    }

    /// Does what the signal asks for. Afterwards the screen is empty: draw it again.
    pub(super) async fn follow(&mut self, change: Change, screen: &mut Screen) -> io::Result<()> {
        match change {
            Change::Stop => {
                screen.leave();
                // The handler has taken SIGTSTP. This one has none.
                kill_process(getpid(), Signal::STOP)?;
                // Another thread may be the one that stops first. SIGCONT comes only after that.
                self.go_on.recv().await;
            }
            // SIGSTOP has no handler, and the shell has used the terminal meanwhile.
            Change::GoOn => {}
        }
        screen.open_again()
    }
}
