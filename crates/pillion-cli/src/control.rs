//! `pillion ps`, `status`, `top`, `logs`, `exits`, `report` and `restart`: running apps of this user, from outside.

pub(crate) mod exits;
pub(crate) mod logs;
pub(crate) mod ps;
pub(crate) mod render;
pub(crate) mod report;
pub(crate) mod restart;
mod select;
pub(crate) mod status;
pub(crate) mod top;

use std::{future::Future, io, process::ExitCode};

use tokio::runtime;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// An error, in words.
    Because(String),
    /// The reader of the output is gone, for example head(1).
    OutputClosed,
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Because(format!("cannot write to stdout: {error}")),
        }
    }
}

impl From<String> for Stopped {
    fn from(message: String) -> Self {
        Self::Because(message)
    }
}

/// Runs a command, and shows its error.
fn run(command: impl Future<Output = Result<(), Stopped>>) -> ExitCode {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            anstream::eprintln!("pillion: cannot start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command) {
        Ok(()) | Err(Stopped::OutputClosed) => ExitCode::SUCCESS,
        Err(Stopped::Because(message)) => {
            anstream::eprintln!("pillion: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The text without characters that control a terminal: other programs and sidecars have chosen it.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
