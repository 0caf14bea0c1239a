//! How many tests passed and failed, read from the closing lines of the programs that ran them.

use std::ops::AddAssign;

/// Tests that ran, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// A program that runs tests, known by how its output ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    /// `     Summary [   0.121s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 2 skipped`
    Nextest,
    /// `test result: FAILED. 3 passed; 1 failed; 0 ignored; …`, once for each test program.
    Cargo,
    /// `      Tests  1 failed | 11 passed | 2 skipped (14)`
    Vitest,
    /// `rounds: 200 passed, 0 failed`
    Soak,
}

impl Runner {
    /// The counts, or nothing when `output` does not end as this runner's does. Never a silent zero: a runner whose
    /// format has changed must be noticed.
    pub(crate) fn counts(self, output: &str) -> Option<Counts> {
        let output = without_colour(output);
        let mut lines = output.lines().filter_map(|line| self.closing(line.trim()));
        match self {
            // A runner that was stopped and closed twice has said the truth last.
            Self::Nextest | Self::Vitest | Self::Soak => lines.next_back().and_then(tally),
            Self::Cargo => {
                let mut total = None;
                for line in lines {
                    *total.get_or_insert_with(Counts::default) += tally(line)?;
                }
                total
            }
        }
    }

    /// The part of a closing line that counts, if this is one.
    fn closing(self, line: &str) -> Option<&str> {
        match self {
            Self::Nextest => line.strip_prefix("Summary [")?.split_once(" run: ").map(|(_, counts)| counts),
            Self::Cargo => line.strip_prefix("test result: ")?.split_once(". ").map(|(_, counts)| counts),
            Self::Vitest => line.strip_prefix("Tests ").map(str::trim),
            Self::Soak => line.strip_prefix("rounds: "),
        }
    }
}

/// Adds up `7 passed (1 slow), 1 failed, 1 timed out`, whatever separates the items.
fn tally(items: &str) -> Option<Counts> {
    let mut counts = None;
    for item in items.split([',', ';', '|']) {
        let Some((number, outcome)) = item.trim().split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        let counts = counts.get_or_insert_with(Counts::default);
        match outcome.split(" (").next().unwrap_or_default() {
            "passed" => counts.passed += number,
            "failed" | "timed out" | "exec failed" | "failed due to signal" => counts.failed += number,
            _ => {}
        }
    }
    counts
}

/// Drops the escape sequences of ECMA-48 that set colours: `ESC [ … m`.
fn without_colour(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest() {
        let output = "noise\n────────────\n     Summary [   0.121s] 9/12 tests run: 5 passed (1 slow, 1 flaky), 2 failed, 1 timed out, 1 exec failed, 3 skipped\n        FAIL x\n";
        assert_eq!(Runner::Nextest.counts(output), Some(Counts { passed: 5, failed: 4 }));
        let one = "     Summary [   0.005s] 1 test run: 1 passed, 0 skipped\n";
        assert_eq!(Runner::Nextest.counts(one), Some(Counts { passed: 1, failed: 0 }));
        let none = "     Summary [   0.000s] 0 tests run: 0 passed, 4 skipped\n";
        assert_eq!(Runner::Nextest.counts(none), Some(Counts::default()));
    }

    #[test]
    fn cargo_adds_its_programs_up() {
        let output = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                      test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s\n";
        assert_eq!(Runner::Cargo.counts(output), Some(Counts { passed: 5, failed: 1 }));
    }

    #[test]
    fn vitest() {
        let output = " Test Files  2 passed (2)\n      Tests  1 failed | 11 passed | 2 skipped (14)\n   Duration  1s\n";
        assert_eq!(Runner::Vitest.counts(output), Some(Counts { passed: 11, failed: 1 }));
        let coloured =
            "\x1b[2m      Tests \x1b[22m \x1b[1m\x1b[32m5 passed\x1b[39m\x1b[22m\x1b[90m (5)\x1b[39m\n";
        assert_eq!(Runner::Vitest.counts(coloured), Some(Counts { passed: 5, failed: 0 }));
    }

    #[test]
    fn soak() {
        let output = "seed 7\nsurvivors 1\nrounds: 199 passed, 1 failed\n";
        assert_eq!(Runner::Soak.counts(output), Some(Counts { passed: 199, failed: 1 }));
    }

    #[test]
    fn what_cannot_be_read_is_no_zero() {
        for runner in [Runner::Nextest, Runner::Cargo, Runner::Vitest, Runner::Soak] {
            assert_eq!(runner.counts(""), None);
            assert_eq!(runner.counts("error: could not compile `x`\n"), None);
        }
        assert_eq!(Runner::Vitest.counts("      Tests  no tests\n"), None);
        assert_eq!(Runner::Nextest.counts("     Summary [   0.000s] 3 tests run: all well\n"), None);
        assert_eq!(Runner::Cargo.counts("test result: ok. everything\n"), None);
    }
}
