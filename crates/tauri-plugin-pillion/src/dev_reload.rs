//! Development only: swaps a sidecar whose program was rebuilt, while the app keeps running.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use pillion::{Failure, FailureKind, State, Supervisor};
use tokio::time::{self, Interval, MissedTickBehavior};

/// How often the file is checked. A file that did not change between two checks counts as completely written. A file system
/// watcher would not help: it cannot tell either when a linker or a copy is done.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Swaps the sidecar whenever `program`, from which it was started, is replaced by another file. A stopped sidecar stays
/// stopped; a failed one is started. If the new process does not become ready, the old one keeps running, and the next build
/// is tried.
///
/// This future never ends by itself, and holds a handle to the sidecar.
pub(crate) async fn follow(supervisor: Supervisor, mut program: ProgramFile) {
    program.changed().await;
    loop {
        if supervisor.status().state == State::Stopped {
            program.changed().await;
            continue;
        }
        tokio::select! {
            swapped = supervisor.swap() => {
                print_outcome(&supervisor, swapped.map(|endpoint| endpoint.pid));
                program.changed().await;
            }
            // The program was built again before the candidate was ready: this swap is abandoned for the next one.
            () = program.changed() => {}
        }
    }
}

/// Prints the outcome of a swap, because the app may have no `tracing` subscriber.
#[expect(
    clippy::print_stderr,
    reason = "development only: the developer reads it beside the build's own errors"
)]
fn print_outcome(supervisor: &Supervisor, swapped: Result<Option<u32>, Failure>) {
    let name = supervisor.name();
    match swapped {
        Ok(pid) => {
            eprintln!("pillion: {name} was rebuilt; the new process is {}", pid.unwrap_or_default());
        }
        // The sidecar was stopped or restarted during the swap.
        Err(failure) if failure.kind == FailureKind::Stopped => {}
        Err(failure) => {
            let state = supervisor.status().state;
            eprintln!(
                "pillion: {name} was rebuilt, but the new process is not used; the old one is {state:?}: {}",
                failure.message
            );
            failure.detail.tail.iter().for_each(|line| eprintln!("pillion: {name}: {line}"));
        }
    }
}

/// A program's file, and its stamps at the last check and at the last start.
#[derive(Debug)]
pub(crate) struct ProgramFile {
    path: PathBuf,
    /// The file that was last used for a start, successful or not.
    used: Option<FileStamp>,
    last: Option<FileStamp>,
    ticks: Option<Interval>,
}

/// Distinguishes the file of one build from the file of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileStamp {
    modified: SystemTime,
    length: u64,
}

impl ProgramFile {
    /// Remembers the file in its present state.
    pub(crate) fn new(path: PathBuf) -> Self {
        let now = FileStamp::read(&path).ok();
        Self { path, used: now, last: now, ticks: None }
    }

    /// Waits until the file exists, differs from the used one, and is completely written. Dropping this future loses nothing:
    /// it can be called again.
    async fn changed(&mut self) {
        loop {
            self.ticks.get_or_insert_with(ticks).tick().await;
            if self.check() {
                return;
            }
        }
    }

    /// Whether the file differs from the used one and has not changed since the last check.
    fn check(&mut self) -> bool {
        let before = self.last;
        self.last = FileStamp::read(&self.path).ok();
        let written = self.last.is_some() && self.last == before && self.last != self.used;
        if written {
            self.used = self.last;
        }
        written
    }
}

impl FileStamp {
    fn read(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        Ok(Self { modified: file.modified()?, length: file.len() })
    }
}

fn ticks() -> Interval {
    let mut ticks = time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_as_changed_once_it_is_completely_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backend");
        let mut program = ProgramFile::new(path.clone());
        assert!(!program.check(), "the file does not exist yet");
        fs::write(&path, "half").unwrap();
        assert!(!program.check(), "the file may still be growing");
        fs::write(&path, "half and half").unwrap();
        assert!(!program.check(), "the file grew since the last check");
        assert!(program.check());
        assert!(!program.check(), "one change is reported once");
        fs::remove_file(&path).unwrap();
        assert!(!program.check() && !program.check(), "an absent file cannot be run");
        fs::write(&path, "another build").unwrap();
        assert!(!program.check() && program.check());
    }
}
