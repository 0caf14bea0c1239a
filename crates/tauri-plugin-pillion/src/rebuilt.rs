//! Development: a sidecar whose program was rebuilt is swapped for the new one, and the app stays as it is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use pillion::{Failure, FailureKind, State, Supervisor};
use tokio::time::{self, Interval, MissedTickBehavior};

/// How often the file is looked at, and so how long it has to stay as it is before it counts as written. Asking the
/// system to tell of changes would not say more: it does not know either when a linker or a copy is done.
const LOOK: Duration = Duration::from_millis(250);

/// Swaps the sidecar whenever `program`, which it was started from, is another file than before. One that was stopped
/// stays stopped; one that failed is started. What does not get ready changes nothing, and the next build is tried.
///
/// Never ends by itself, and holds a handle to the sidecar.
pub(crate) async fn follow(supervisor: Supervisor, mut program: Program) {
    program.changed().await;
    loop {
        if supervisor.status().state == State::Stopped {
            program.changed().await;
            continue;
        }
        tokio::select! {
            swapped = supervisor.swap() => {
                tell(&supervisor, swapped.map(|endpoint| endpoint.pid));
                program.changed().await;
            }
            // Built again before it was ready: the swap is given up for the next one.
            () = program.changed() => {}
        }
    }
}

/// Tells the developer, whose app need not have a subscriber for traces.
#[expect(clippy::print_stderr, reason = "development only: it is read where the build's own errors are")]
fn tell(supervisor: &Supervisor, swapped: Result<Option<u32>, Failure>) {
    let name = supervisor.name();
    match swapped {
        Ok(pid) => {
            eprintln!("pillion: {name} was rebuilt; the new one is process {}", pid.unwrap_or_default());
        }
        // Somebody else decided over the sidecar in the meantime.
        Err(failure) if failure.kind == FailureKind::Stopped => {}
        Err(failure) => {
            let state = supervisor.status().state;
            eprintln!(
                "pillion: {name} was rebuilt, and is not used; the old one is {state:?}: {}",
                failure.message
            );
            failure.detail.tail.iter().for_each(|line| eprintln!("pillion: {name}: {line}"));
        }
    }
}

/// A program's file, and what it was when it was last looked at.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    /// What the sidecar was started from, or refused to.
    used: Option<Look>,
    last: Option<Look>,
    ticks: Option<Interval>,
}

/// What tells one build's file from the next one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    modified: SystemTime,
    length: u64,
}

impl Program {
    /// Remembers the file as it is now.
    pub(crate) fn new(path: PathBuf) -> Self {
        let now = Look::at(&path).ok();
        Self { path, used: now, last: now, ticks: None }
    }

    /// Waits until the file is there, is another than the last time, and is written. May be dropped and called again.
    async fn changed(&mut self) {
        loop {
            self.ticks.get_or_insert_with(ticks).tick().await;
            if self.look() {
                return;
            }
        }
    }

    /// Whether it has changed, and was already so when it was last looked at.
    fn look(&mut self) -> bool {
        let before = self.last;
        self.last = Look::at(&self.path).ok();
        let written = self.last.is_some() && self.last == before && self.last != self.used;
        if written {
            self.used = self.last;
        }
        written
    }
}

impl Look {
    fn at(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        Ok(Self { modified: file.modified()?, length: file.len() })
    }
}

fn ticks() -> Interval {
    let mut ticks = time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_once_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backend");
        let mut program = Program::new(path.clone());
        assert!(!program.look(), "it is not there yet");
        fs::write(&path, "half").unwrap();
        assert!(!program.look(), "nobody knows yet whether that is all");
        fs::write(&path, "half and half").unwrap();
        assert!(!program.look(), "it was not");
        assert!(program.look());
        assert!(!program.look(), "once is enough");
        fs::remove_file(&path).unwrap();
        assert!(!program.look() && !program.look(), "what is gone cannot be run");
        fs::write(&path, "another build").unwrap();
        assert!(!program.look() && program.look());
    }
}
