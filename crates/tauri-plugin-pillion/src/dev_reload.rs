//! Development only: starts a sidecar again when its program was rebuilt or its sources changed, while the app keeps running.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use glob::{MatchOptions, Pattern};
use pillion::{Endpoint, Failure, FailureKind, Readiness, State, Supervisor};
use pillion_config::OnChange;
use tokio::{
    task,
    time::{self, Interval, MissedTickBehavior},
};

/// How often the files are checked. Files that did not change between two checks count as completely written. A file system
/// watcher would not help: it cannot tell either when a linker or a copy is done.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Starts the sidecar again whenever the watched files have changed. A stopped sidecar stays stopped, and an idle one is started with
/// the changed files by its next use; a failed one is started. If a candidate of a swap does not become ready, the old process keeps
/// running, and the next change is tried.
///
/// This future never ends by itself, and holds a handle to the sidecar. `shown` says whether the terminal shows its output already.
pub(crate) async fn follow(supervisor: Supervisor, mut files: WatchedFiles, shown: bool) {
    files.changed().await;
    loop {
        let status = supervisor.status();
        if status.state == State::Stopped || status.readiness == Readiness::Idle {
            files.changed().await;
            continue;
        }
        tokio::select! {
            started = start_again(&supervisor, files.on_change) => {
                print_outcome(&supervisor, started, shown);
                files.changed().await;
            }
            // The files changed again before the new process was ready: this start is abandoned for the next one.
            () = files.changed() => {}
        }
    }
}

async fn start_again(supervisor: &Supervisor, on_change: OnChange) -> Result<Endpoint, Failure> {
    match on_change {
        OnChange::Swap => supervisor.swap().await,
        OnChange::Restart => supervisor.restart().await,
    }
}

/// Prints the outcome of a new start, because the app may have no `tracing` subscriber.
#[expect(
    clippy::print_stderr,
    reason = "development only: the developer reads it beside the build's own errors"
)]
fn print_outcome(supervisor: &Supervisor, started: Result<Endpoint, Failure>, shown: bool) {
    let name = supervisor.name();
    match started {
        Ok(endpoint) => {
            eprintln!("pillion: {name} has changed; the new process is {}", endpoint.pid.unwrap_or_default());
        }
        // The sidecar was stopped or restarted meanwhile.
        Err(failure) if failure.kind == FailureKind::Stopped => {}
        Err(failure) => {
            let old = match supervisor.status().readiness {
                Readiness::Up => "the old one goes on",
                _ => "the old one has ended",
            };
            eprintln!(
                "pillion: {name} has changed, but the new process is not used; {old}: {}",
                failure.message
            );
            let tail = failure.detail.tail.iter().filter(|_| !shown);
            tail.for_each(|line| eprintln!("pillion: {name}: {line}"));
        }
    }
}

/// Files, and their stamps at the last check and at the last start.
#[derive(Debug)]
pub(crate) struct WatchedFiles {
    on_change: OnChange,
    /// Absolute patterns.
    patterns: Vec<String>,
    /// The files that were last used for a start, successful or not.
    used: Stamps,
    last: Stamps,
    ticks: Option<Interval>,
}

/// What distinguishes the files of one version from those of the next.
type Stamps = BTreeMap<PathBuf, (SystemTime, u64)>;

impl WatchedFiles {
    /// Watches one program from its present state on.
    pub(crate) fn program(path: &Path, on_change: OnChange) -> Self {
        Self::new(vec![Pattern::escape(&path.to_string_lossy())], on_change)
    }

    /// Watches the files that match these patterns, relative to `folder`, from their present state on; `None` without a pattern.
    /// An error is a pattern that is invalid, and the reason.
    pub(crate) fn patterns(
        folder: &Path,
        patterns: &[String],
        on_change: OnChange,
    ) -> Result<Option<Self>, (String, String)> {
        let folder = Pattern::escape(&folder.to_string_lossy());
        for pattern in patterns {
            Pattern::new(pattern).map_err(|error| (pattern.clone(), error.to_string()))?;
        }
        let patterns: Vec<_> = patterns.iter().map(|pattern| format!("{folder}/{pattern}")).collect();
        Ok((!patterns.is_empty()).then(|| Self::new(patterns, on_change)))
    }

    fn new(patterns: Vec<String>, on_change: OnChange) -> Self {
        let now = stamps(&patterns);
        Self { on_change, patterns, used: now.clone(), last: now, ticks: None }
    }

    /// Waits until a file exists, some differ from the used ones, and all are completely written. Dropping this future loses
    /// nothing: it can be called again.
    async fn changed(&mut self) {
        loop {
            self.ticks.get_or_insert_with(ticks).tick().await;
            let patterns = self.patterns.clone();
            // Walking through folders would block the thread that supervises the sidecars.
            let now = task::spawn_blocking(move || stamps(&patterns)).await.unwrap_or_default();
            if self.check(now) {
                return;
            }
        }
    }

    /// Whether the files differ from the used ones and have not changed since the last check.
    fn check(&mut self, now: Stamps) -> bool {
        let before = std::mem::replace(&mut self.last, now);
        let written = !self.last.is_empty() && self.last == before && self.last != self.used;
        if written {
            self.used.clone_from(&self.last);
        }
        written
    }
}

/// The files that match, with their stamps. A file that disappears meanwhile is left out.
fn stamps(patterns: &[String]) -> Stamps {
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let paths =
        patterns.iter().filter_map(|pattern| glob::glob_with(pattern, options).ok()).flatten().flatten();
    paths
        .filter_map(|path| {
            let file = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
            Some((path, (file.modified().ok()?, file.len())))
        })
        .collect()
}

fn ticks() -> Interval {
    let mut ticks = time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One look at the files, without the wait before it.
    fn look(files: &mut WatchedFiles) -> bool {
        files.check(stamps(&files.patterns))
    }

    /// No pattern finds a verbatim path of Windows (`\\?\C:\…`).
    #[test]
    fn a_program_beside_the_app_is_found() {
        let own = std::env::current_exe().unwrap();
        let path = crate::resolve::folder_of_app().unwrap().join(own.file_name().unwrap());
        assert_eq!(WatchedFiles::program(&path, OnChange::Swap).used.len(), 1);
    }

    #[test]
    fn a_program_counts_as_changed_once_it_is_completely_written() {
        let folder = tempfile::tempdir().unwrap();
        // Characters of patterns are characters of the path. Windows allows no asterisk there.
        let path = folder.path().join(if cfg!(windows) { "backend[2]" } else { "backend[2]*" });
        let mut program = WatchedFiles::program(&path, OnChange::Swap);
        assert!(!look(&mut program), "the file does not exist yet");
        fs::write(&path, "half").unwrap();
        assert!(!look(&mut program), "the file may still be growing");
        fs::write(&path, "half and half").unwrap();
        assert!(!look(&mut program), "the file grew since the last check");
        assert!(look(&mut program));
        assert!(!look(&mut program), "one change is reported once");
        fs::remove_file(&path).unwrap();
        assert!(!look(&mut program) && !look(&mut program), "an absent file cannot be run");
        fs::write(&path, "another build").unwrap();
        assert!(!look(&mut program) && look(&mut program));
    }

    #[test]
    fn a_source_that_is_added_changed_or_removed_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (source, hidden) = (folder.path().join("src/a/b"), folder.path().join("src/.cache"));
        fs::create_dir_all(&source).unwrap();
        fs::create_dir_all(&hidden).unwrap();
        fs::write(source.join("main.ts"), "1").unwrap();
        let patterns = ["src/**/*.ts".to_owned()];
        let mut files = WatchedFiles::patterns(folder.path(), &patterns, OnChange::Restart).unwrap().unwrap();
        let mut changes = || (look(&mut files), look(&mut files));
        assert_eq!(changes(), (false, false));
        fs::write(source.join("main.ts"), "12").unwrap();
        assert_eq!(changes(), (false, true));
        fs::write(folder.path().join("src/other.ts"), "1").unwrap();
        assert_eq!(changes(), (false, true));
        fs::remove_file(folder.path().join("src/other.ts")).unwrap();
        assert_eq!(changes(), (false, true));
        fs::write(source.join("notes.md"), "1").unwrap();
        fs::write(hidden.join("generated.ts"), "1").unwrap();
        assert_eq!(changes(), (false, false));
    }

    #[test]
    fn an_invalid_pattern_is_named() {
        let patterns = ["src/***".to_owned()];
        let (pattern, reason) =
            WatchedFiles::patterns(Path::new("/"), &patterns, OnChange::Swap).unwrap_err();
        assert_eq!(pattern, "src/***");
        assert!(!reason.is_empty());
        assert!(WatchedFiles::patterns(Path::new("/"), &[], OnChange::Swap).unwrap().is_none());
    }
}
