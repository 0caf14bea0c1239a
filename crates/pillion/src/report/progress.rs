//! The words of progress of one run, shown at a bounded rate.

use std::time::Duration;

use tokio::time::Instant;

/// How often the words change at most: a flood of lines must not become a flood of statuses.
const INTERVAL: Duration = Duration::from_millis(250);

/// How far a sidecar says it is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The words that are shown.
    shown: Option<String>,
    /// Newer words, which are not shown yet.
    newer: Option<String>,
    /// When words may change next.
    free_at: Option<Instant>,
}

impl Progress {
    /// Takes new words. They are shown at once, or when they are [due](Self::due).
    pub(crate) fn say(&mut self, words: String, now: Instant) {
        self.newer = Some(words);
        if self.free_at.is_none_or(|free_at| free_at <= now) {
            self.show(now);
        }
    }

    /// When the newer words are due; `None` if all words are shown.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.free_at.filter(|_| self.newer.is_some())
    }

    /// Shows the newer words.
    pub(crate) fn show(&mut self, now: Instant) {
        if let Some(newer) = self.newer.take() {
            self.shown = Some(newer);
            self.free_at = Some(now + INTERVAL);
        }
    }

    /// The words that are shown, unless the sidecar has withdrawn them.
    pub(crate) fn shown(&self) -> Option<&str> {
        self.shown.as_deref().filter(|words| !words.is_empty())
    }

    /// The last words, whether or not they are shown, unless the sidecar has withdrawn them.
    pub(crate) fn last(&self) -> Option<&str> {
        self.newer.as_deref().or(self.shown.as_deref()).filter(|words| !words.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_change_at_a_bounded_rate_and_the_last_ones_are_shown() {
        let start = Instant::now();
        let mut progress = Progress::default();
        let (mut shown, mut changes) = (None, 0);
        for number in 0..10_000_u32 {
            let now = start + Duration::from_micros(100) * number;
            progress.say(format!("{number}"), now);
            if progress.due().is_some_and(|due| due <= now) {
                progress.show(now);
            }
            if progress.shown() != shown.as_deref() {
                (shown, changes) = (progress.shown().map(str::to_owned), changes + 1);
            }
        }
        assert_eq!((changes, progress.last()), (4, Some("9999")));
        let due = progress.due().unwrap();
        progress.show(due);
        assert_eq!((progress.shown(), progress.due()), (Some("9999"), None));
    }

    #[test]
    fn no_words_withdraw_the_words() {
        let mut progress = Progress::default();
        progress.say("42%".to_owned(), Instant::now());
        progress.say(String::new(), Instant::now() + INTERVAL * 2);
        assert_eq!((progress.shown(), progress.last()), (None, None));
    }
}
