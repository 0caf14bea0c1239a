//! The results of the rounds.

use std::{fmt, io, time::Duration};

use integration_tests::orphans::Outcome;

/// The sums of the closing table.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Whether a survivor is a failure. Otherwise it is only counted.
    promised: bool,
    rounds: u64,
    failed: u64,
    survivors: usize,
    rounds_with_survivors: u64,
    /// Sidecars that were expected to stop gracefully, and those of them that did.
    expected: u64,
    honoured: u64,
    slowest: Duration,
}

impl Tally {
    /// An empty tally, for an app that `promised` no survivors or for the baseline.
    pub(crate) fn new(promised: bool) -> Self {
        Self {
            promised,
            rounds: 0,
            failed: 0,
            survivors: 0,
            rounds_with_survivors: 0,
            expected: 0,
            honoured: 0,
            slowest: Duration::ZERO,
        }
    }

    /// Adds a round, and returns its failure.
    pub(crate) fn add(&mut self, outcome: io::Result<Outcome>) -> Option<String> {
        let failure = match outcome {
            Ok(outcome) => {
                self.count(&outcome);
                broken(&outcome).filter(|_| self.promised)
            }
            Err(error) => Some(error.to_string()),
        };
        self.rounds += 1;
        self.failed += u64::from(failure.is_some());
        failure
    }

    fn count(&mut self, outcome: &Outcome) {
        self.survivors += outcome.survivors.len();
        self.rounds_with_survivors += u64::from(!outcome.survivors.is_empty());
        self.expected += u64::from(outcome.graceful.is_some());
        self.honoured += u64::from(outcome.graceful == Some(true));
        // After a survivor, the clean-up has no end to measure.
        if outcome.survivors.is_empty() {
            self.slowest = self.slowest.max(outcome.took);
        }
    }

    pub(crate) fn rounds(&self) -> u64 {
        self.rounds
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.failed == 0 && self.rounds > 0
    }
}

/// The broken promise, in words.
fn broken(outcome: &Outcome) -> Option<String> {
    if !outcome.survivors.is_empty() {
        return Some(format!("still alive: {:?}", outcome.survivors));
    }
    (outcome.graceful == Some(false)).then(|| "the sidecar was killed without a request to stop".to_owned())
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rounds                   {:>8}", self.rounds)?;
        writeln!(f, "rounds with survivors    {:>8}", self.rounds_with_survivors)?;
        writeln!(f, "survivors                {:>8}", self.survivors)?;
        writeln!(f, "graceful stops honoured  {:>8} of {}", self.honoured, self.expected)?;
        writeln!(f, "slowest clean-up         {:>8.2} s", self.slowest.as_secs_f64())?;
        write!(f, "rounds: {} passed, {} failed", self.rounds - self.failed, self.failed)
    }
}
