//! The files whose change starts a sidecar again.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use pillion_config::{OnChange, WatchPatterns};
use tokio::{
    task,
    time::{self, Instant},
};

/// How often the files are checked. Files that did not change between two checks count as completely written. A file system
/// watcher would not help: it cannot tell either when a linker or a copy is done.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// The pause after a check is so many times as long as the check, and [`MAX_POLL_INTERVAL`] at most: a large or slow folder must not occupy
/// a processor.
const PAUSE_FACTOR: u32 = 3;
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// After how many checks in a row that saw a change a file counts as restless.
const RESTLESS: u32 = 40;

/// How large a file is at most whose content is compared, and how much all of them are together.
const MAX_CONTENT: u64 = 1 << 20;
const MAX_CONTENTS: u64 = 64 << 20;

/// Files, and their stamps at the last check and at the last start.
#[derive(Debug)]
pub(crate) struct WatchedFiles {
    on_change: OnChange,
    sources: Arc<Sources>,
    /// The files that were last used for a start, successful or not.
    used: Stamps,
    /// Hashes of what they contain, as far as it is compared; `None` before they were read for the first time.
    contents: Option<Contents>,
    last: Stamps,
    /// How many checks in a row have seen a change.
    unrest: u32,
    next_check: Option<Instant>,
}

/// Where the files are.
#[derive(Debug)]
enum Sources {
    Program(PathBuf),
    Patterns { folder: PathBuf, patterns: WatchPatterns },
}

/// What tells that a file may have changed.
type Stamps = BTreeMap<PathBuf, (SystemTime, u64)>;
/// Hashes of what files contain. A file that is written with the same content has not changed: otherwise, a build that generates sources
/// would start the sidecar again for ever.
type Contents = BTreeMap<PathBuf, u64>;

impl WatchedFiles {
    /// Watches one program from its present state on.
    pub(crate) fn program(path: &Path, on_change: OnChange) -> Self {
        Self::new(Sources::Program(path.to_owned()), on_change)
    }

    /// Watches the files that these patterns mean, relative to `folder`, from their present state on.
    pub(crate) fn patterns(folder: &Path, patterns: WatchPatterns, on_change: OnChange) -> Self {
        Self::new(Sources::Patterns { folder: folder.to_owned(), patterns }, on_change)
    }

    fn new(sources: Sources, on_change: OnChange) -> Self {
        let now = sources.stamps();
        let sources = Arc::new(sources);
        Self { on_change, sources, used: now.clone(), contents: None, last: now, unrest: 0, next_check: None }
    }

    pub(crate) fn on_change(&self) -> OnChange {
        self.on_change
    }

    /// Whether patterns match no file. A program that is not there is another matter: the supervisor says so.
    pub(crate) fn is_empty(&self) -> bool {
        self.has_patterns() && self.last.is_empty()
    }

    pub(crate) fn has_patterns(&self) -> bool {
        matches!(*self.sources, Sources::Patterns { .. })
    }

    pub(crate) fn why_empty(&self) -> String {
        let folder = self.sources.folder().display();
        format!(
            "no file in {folder} matches `dev.watch`, so that no change starts it again; correct the patterns or `dev.cwd`"
        )
    }

    /// The path for a person: relative to the folder of the patterns, with slashes as in a pattern.
    pub(crate) fn shown(&self, path: &Path) -> String {
        let below = path.strip_prefix(self.sources.folder()).unwrap_or(path).to_string_lossy();
        if cfg!(windows) { below.replace('\\', "/") } else { below.into_owned() }
    }

    /// The first of these, and how many there are besides.
    pub(crate) fn shown_all(&self, paths: &[PathBuf]) -> String {
        let first = paths.first().map(|path| self.shown(path)).unwrap_or_default();
        match paths.len() {
            0 | 1 => first,
            count => format!("{first} and {} more", count - 1),
        }
    }

    /// Waits until a file exists, some differ from the used ones, and all are completely written. Returns those that differ. Calls
    /// `restless` with a file that does not come to rest. Dropping this future loses nothing: it can be called again.
    pub(crate) async fn changed(&mut self, restless: impl Fn(&str)) -> Vec<PathBuf> {
        loop {
            if let Some(next) = self.next_check {
                time::sleep_until(next).await;
            }
            let began = Instant::now();
            self.next_check = Some(began + POLL_INTERVAL);
            let sources = Arc::clone(&self.sources);
            // Walking through folders would block the thread that supervises the sidecars.
            let Ok(now) = task::spawn_blocking(move || sources.stamps()).await else { continue };
            let took = began.elapsed();
            self.next_check =
                Some(Instant::now() + (took * PAUSE_FACTOR).clamp(POLL_INTERVAL, MAX_POLL_INTERVAL));
            if self.contents.is_none() {
                let used = self.used.clone();
                self.contents = task::spawn_blocking(move || contents(&used)).await.ok();
            }
            if let Some(file) = self.restless(&now) {
                restless(&self.shown(&file));
            }
            if self.check(now) {
                let differing = differing(&self.used, &self.last);
                let present = self.last.clone();
                let files: Stamps =
                    differing.iter().filter_map(|path| Some((path.clone(), *present.get(path)?))).collect();
                let read = task::spawn_blocking(move || contents(&files)).await.unwrap_or_default();
                let changed = self.take(differing, &read);
                if !changed.is_empty() {
                    return changed;
                }
            }
        }
    }

    /// Whether the files may differ from the used ones and have not changed since the last check.
    fn check(&mut self, now: Stamps) -> bool {
        let before = std::mem::replace(&mut self.last, now);
        !self.last.is_empty() && self.last == before && self.last != self.used
    }

    /// Uses the present files. Returns those of the differing ones that have another content than before.
    fn take(&mut self, mut differing: Vec<PathBuf>, read: &Contents) -> Vec<PathBuf> {
        self.used.clone_from(&self.last);
        let contents = self.contents.get_or_insert_default();
        differing.retain(|path| {
            let now = read.get(path).copied();
            let before = match now {
                Some(now) => contents.insert(path.clone(), now),
                None => contents.remove(path),
            };
            now.is_none() || now != before
        });
        differing
    }

    /// Counts how long the files have changed at each check. Returns one that changes, once.
    fn restless(&mut self, now: &Stamps) -> Option<PathBuf> {
        self.unrest = if *now == self.last { 0 } else { self.unrest.saturating_add(1) };
        (self.unrest == RESTLESS).then(|| differing(&self.last, now).into_iter().next()).flatten()
    }
}

impl Sources {
    fn folder(&self) -> &Path {
        match self {
            Self::Program(path) => path.parent().unwrap_or(path),
            Self::Patterns { folder, .. } => folder,
        }
    }

    /// The files with their stamps. A file that disappears meanwhile is left out.
    fn stamps(&self) -> Stamps {
        let paths = match self {
            Self::Program(path) => [path.clone()].into(),
            Self::Patterns { folder, patterns } => patterns.files(folder),
        };
        paths
            .into_iter()
            .filter_map(|path| Some((stamp(&path)?, path)))
            .map(|(stamp, path)| (path, stamp))
            .collect()
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let file = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((file.modified().ok()?, file.len()))
}

/// The files that only one of them has, or that have other stamps.
fn differing(one: &Stamps, other: &Stamps) -> Vec<PathBuf> {
    let of_other = other.iter().filter(|(path, stamp)| one.get(*path) != Some(*stamp));
    let removed = one.iter().filter(|(path, _)| !other.contains_key(*path));
    of_other.chain(removed).map(|(path, _)| path.clone()).collect()
}

/// Hashes of these files, except large ones, and those that have other stamps by now.
fn contents(files: &Stamps) -> Contents {
    let mut left = MAX_CONTENTS;
    let mut hash = |(path, stamp_before): (&PathBuf, &(SystemTime, u64))| {
        let size = stamp_before.1;
        if size > MAX_CONTENT || size > left {
            return None;
        }
        left -= size;
        let mut hasher = DefaultHasher::new();
        fs::read(path).ok()?.hash(&mut hasher);
        (stamp(path)? == *stamp_before).then(|| (path.clone(), hasher.finish()))
    };
    files.iter().filter_map(&mut hash).collect()
}

#[cfg(test)]
mod tests;
