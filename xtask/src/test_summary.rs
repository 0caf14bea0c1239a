//! Reads the number of passed and failed tests from the summary line that a test runner prints at its end.

use std::ops::AddAssign;

/// Number of tests by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TestCounts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for TestCounts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// A test runner. Each variant shows the summary line that its output ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    /// `     Summary [   0.121s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 2 skipped`
    Nextest,
    /// `test result: FAILED. 3 passed; 1 failed; 0 ignored; …`, one line for each test program.
    Cargo,
    /// `      Tests  1 failed | 11 passed | 2 skipped (14)`
    Vitest,
    /// `rounds: 200 passed, 0 failed`
    Soak,
    /// `1 failed, 11 passed, 2 skipped, 1 error in 2.31s`, between two rows of `=` without `--quiet`.
    Pytest,
}

impl Runner {
    /// Returns the counts, or `None` if `output` has no summary line of this runner. `None` is not zero: the caller
    /// reports it, so that a change of the runner's format is noticed.
    pub(crate) fn counts(self, output: &str) -> Option<TestCounts> {
        let output = strip_colour(output);
        let mut lines = output.lines().filter_map(|line| self.summary(line.trim()));
        match self {
            // An interrupted runner can print two summaries; the last one is complete.
            Self::Nextest | Self::Vitest | Self::Soak | Self::Pytest => {
                lines.next_back().and_then(parse_counts)
            }
            Self::Cargo => {
                let mut total = None;
                for line in lines {
                    *total.get_or_insert_with(TestCounts::default) += parse_counts(line)?;
                }
                total
            }
        }
    }

    /// Returns the part of a summary line that holds the counts, or `None` for any other line.
    fn summary(self, line: &str) -> Option<&str> {
        match self {
            Self::Nextest => line.strip_prefix("Summary [")?.split_once(" run: ").map(|(_, counts)| counts),
            Self::Cargo => line.strip_prefix("test result: ")?.split_once(". ").map(|(_, counts)| counts),
            Self::Vitest => line.strip_prefix("Tests ").map(str::trim),
            Self::Soak => line.strip_prefix("rounds: "),
            Self::Pytest => {
                let (counts, time) = line.trim_matches(['=', ' ']).rsplit_once(" in ")?;
                let seconds = time.split(' ').next()?.strip_suffix('s')?;
                let known = ["passed", "failed", "skipped", "error", "errors"];
                let is_summary = counts.split(", ").any(|count| {
                    count.split_once(' ').is_some_and(|(number, outcome)| {
                        number.parse::<u64>().is_ok() && known.contains(&outcome)
                    })
                });
                (seconds.parse::<f64>().is_ok() && is_summary).then_some(counts)
            }
        }
    }
}

/// Adds up `7 passed (1 slow), 1 failed, 1 timed out`. The separator is a comma, a semicolon or a bar.
fn parse_counts(items: &str) -> Option<TestCounts> {
    let mut counts = None;
    for item in items.split([',', ';', '|']) {
        let Some((number, outcome)) = item.trim().split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        let counts = counts.get_or_insert_with(TestCounts::default);
        match outcome.split(" (").next().unwrap_or_default() {
            "passed" => counts.passed += number,
            "failed" | "timed out" | "exec failed" | "failed due to signal" | "error" | "errors" => {
                counts.failed += number;
            }
            _ => {}
        }
    }
    counts
}

/// Removes the colour sequences of ECMA-48: `ESC [ … m`.
fn strip_colour(text: &str) -> String {
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
    fn nextest_summary_is_parsed() {
        let output = "noise\n────────────\n     Summary [   0.121s] 9/12 tests run: 5 passed (1 slow, 1 flaky), 2 failed, 1 timed out, 1 exec failed, 3 skipped\n        FAIL x\n";
        assert_eq!(Runner::Nextest.counts(output), Some(TestCounts { passed: 5, failed: 4 }));
        let one = "     Summary [   0.005s] 1 test run: 1 passed, 0 skipped\n";
        assert_eq!(Runner::Nextest.counts(one), Some(TestCounts { passed: 1, failed: 0 }));
        let none = "     Summary [   0.000s] 0 tests run: 0 passed, 4 skipped\n";
        assert_eq!(Runner::Nextest.counts(none), Some(TestCounts::default()));
    }

    #[test]
    fn cargo_summaries_are_added_up() {
        let output = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                      test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s\n";
        assert_eq!(Runner::Cargo.counts(output), Some(TestCounts { passed: 5, failed: 1 }));
    }

    #[test]
    fn vitest_summary_is_parsed() {
        let output = " Test Files  2 passed (2)\n      Tests  1 failed | 11 passed | 2 skipped (14)\n   Duration  1s\n";
        assert_eq!(Runner::Vitest.counts(output), Some(TestCounts { passed: 11, failed: 1 }));
        let coloured =
            "\x1b[2m      Tests \x1b[22m \x1b[1m\x1b[32m5 passed\x1b[39m\x1b[22m\x1b[90m (5)\x1b[39m\n";
        assert_eq!(Runner::Vitest.counts(coloured), Some(TestCounts { passed: 5, failed: 0 }));
    }

    #[test]
    fn soak_summary_is_parsed() {
        let output = "seed 7\nsurvivors 1\nrounds: 199 passed, 1 failed\n";
        assert_eq!(Runner::Soak.counts(output), Some(TestCounts { passed: 199, failed: 1 }));
    }

    #[test]
    fn pytest_summary_is_parsed() {
        let output = "....F [100%]\nFAILED tests/x.py - read 3 passed in 5 lines\n1 failed, 12 passed, 1 skipped in 63.10s (0:01:03)\n";
        assert_eq!(Runner::Pytest.counts(output), Some(TestCounts { passed: 12, failed: 1 }));
        let error = "==== 2 passed, 1 error in 0.31s ====\n";
        assert_eq!(Runner::Pytest.counts(error), Some(TestCounts { passed: 2, failed: 1 }));
        assert_eq!(Runner::Pytest.counts("no tests ran in 0.01s\n"), None);
    }

    #[test]
    fn unknown_output_gives_none_instead_of_zero() {
        for runner in [Runner::Nextest, Runner::Cargo, Runner::Vitest, Runner::Soak, Runner::Pytest] {
            assert_eq!(runner.counts(""), None);
            assert_eq!(runner.counts("error: could not compile `x`\n"), None);
        }
        assert_eq!(Runner::Vitest.counts("      Tests  no tests\n"), None);
        assert_eq!(Runner::Nextest.counts("     Summary [   0.000s] 3 tests run: all well\n"), None);
        assert_eq!(Runner::Cargo.counts("test result: ok. everything\n"), None);
    }
}
