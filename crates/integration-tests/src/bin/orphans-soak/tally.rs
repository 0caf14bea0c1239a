//! What came of the rounds.

use std::{fmt, io, time::Duration};

use integration_tests::orphans::Outcome;

/// The sums of the closing table.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    survivors: usize,
    /// Sidecars that would end by themselves when asked to, and those of them that did.
    expected: u64,
    honoured: u64,
    slowest: Duration,
}

impl Tally {
    /// Adds a round, and says what was wrong with it.
    pub(crate) fn add(&mut self, outcome: io::Result<Outcome>) -> Option<String> {
        let trouble = match outcome {
            Ok(outcome) => self.judge(&outcome),
            Err(error) => Some(error.to_string()),
        };
        if trouble.is_some() {
            self.failed += 1;
        } else {
            self.passed += 1;
        }
        trouble
    }

    fn judge(&mut self, outcome: &Outcome) -> Option<String> {
        self.survivors += outcome.survivors.len();
        self.expected += u64::from(outcome.graceful.is_some());
        self.honoured += u64::from(outcome.graceful == Some(true));
        self.slowest = self.slowest.max(outcome.took);
        if !outcome.survivors.is_empty() {
            return Some(format!("still alive: {:?}", outcome.survivors));
        }
        (outcome.graceful == Some(false)).then(|| "was killed without being asked".to_owned())
    }

    pub(crate) fn rounds(&self) -> u64 {
        self.passed + self.failed
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "survivors                {:>8}", self.survivors)?;
        writeln!(f, "graceful stops honoured  {:>8} of {}", self.honoured, self.expected)?;
        writeln!(f, "slowest clean-up         {:>8.2} s", self.slowest.as_secs_f64())?;
        write!(f, "rounds: {} passed, {} failed", self.passed, self.failed)
    }
}
