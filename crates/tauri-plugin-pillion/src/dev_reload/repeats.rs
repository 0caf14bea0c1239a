//! Finds files that the sidecar itself, or its build, writes at each start: it would be started again for ever.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// After how many starts in a row a notice is due. A developer rarely saves a file so often while it is compiled.
const MANY: u32 = 4;
/// A change within this time after a start can be its effect. Files are checked four times a second, and must be unchanged twice.
const EFFECT: Duration = Duration::from_secs(2);

/// The starts in a row that changed the same files.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    files: Vec<PathBuf>,
    starts: u32,
    /// When the last start was over; `None` while it goes on.
    ended: Option<Instant>,
}

impl Repeats {
    /// A start begins at `now`, because these files have changed. Returns a file that seems to change by the starts themselves, once.
    pub(super) fn starting(&mut self, changed: &[PathBuf], now: Instant) -> Option<&Path> {
        let is_effect = self.ended.take().is_none_or(|ended| now.saturating_duration_since(ended) < EFFECT);
        self.files.retain(|file| is_effect && changed.contains(file));
        if self.files.is_empty() {
            self.files = changed.to_vec();
            self.starts = 0;
        }
        self.starts += 1;
        (self.starts == MANY).then(|| self.files.first()).flatten().map(PathBuf::as_path)
    }

    /// A start was over at `now`, successful or not.
    pub(super) fn ended(&mut self, now: Instant) {
        self.ended = Some(now);
    }
}

/// What to do about a file that changes by each start.
pub(super) fn about(file: &str) -> String {
    format!(
        "{file} has changed during each of the last {MANY} starts; if the server or its build writes it, leave it out, with \"!{file}\" \
         in `dev.watch`"
    )
}

/// What to do about a file that does not come to rest.
pub(super) fn about_restless(file: &str) -> String {
    format!(
        "{file} is written all the time, and a change counts only once all files have come to rest; if it is no source, leave it out, \
         with \"!{file}\" in `dev.watch`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn a_file_that_each_start_changes_is_named_once() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        assert_eq!(repeats.starting(&paths(&["gen.ts", "main.ts"]), now), None);
        // Before the start is over, and soon after it.
        assert_eq!(repeats.starting(&paths(&["gen.ts"]), now), None);
        repeats.ended(now);
        assert_eq!(repeats.starting(&paths(&["gen.ts", "other.ts"]), now), None);
        assert_eq!(repeats.starting(&paths(&["gen.ts"]), now), Some(Path::new("gen.ts")));
        assert_eq!(repeats.starting(&paths(&["gen.ts"]), now), None);
    }

    #[test]
    fn changes_that_come_later_or_of_other_files_are_no_effect() {
        let (mut repeats, mut now) = (Repeats::default(), Instant::now());
        for _ in 0..2 * MANY {
            assert_eq!(repeats.starting(&paths(&["main.ts"]), now), None);
            repeats.ended(now);
            now += EFFECT;
        }
        for name in ["a.ts", "b.ts", "c.ts", "d.ts", "e.ts"] {
            assert_eq!(repeats.starting(&paths(&[name]), now), None);
        }
    }
}
