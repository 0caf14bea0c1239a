//! What a check found, as data. Pure: [`render`](super::render) shows it.

use serde::Serialize;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The program follows the rule.
    Kept(String),
    /// The program breaks the rule.
    Broken(String),
    /// The program lacks an optional part of the protocol.
    NotSupported(String),
    /// The check could not look at the rule.
    NotChecked(String),
}

/// A verdict without its evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Outcome {
    Kept,
    Broken,
    NotSupported,
    NotChecked,
}

/// The level of a rule (RFC 2119).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Requirement {
    Must,
    Should,
}

impl Requirement {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
        }
    }
}

/// One check of a report.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    /// The name of the check.
    pub(super) check: &'static str,
    /// The section of docs/protocol.md.
    pub(super) rule: u8,
    pub(super) level: Requirement,
    /// What the rule demands.
    pub(super) demand: &'static str,
    pub(super) outcome: Outcome,
    /// The bytes, times and statuses that were seen, or the reason why the check did not look.
    pub(super) evidence: String,
    /// What to change, if the rule is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) change: Option<&'static str>,
}

/// What the report says without a verdict.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Measurements {
    /// Milliseconds from the start to the announcement.
    pub(super) announced_ms: Option<u64>,
    /// Milliseconds from the start to the first answer of the health path.
    pub(super) healthy_ms: Option<u64>,
    /// Bytes of memory of all processes of the program after that answer. Shared memory counts in parts (`Pss`).
    pub(super) memory_bytes: Option<u64>,
}

/// The whole report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    /// Whether the program got a token.
    pub(super) private: bool,
    pub(super) findings: Vec<Finding>,
    pub(super) measurements: Measurements,
}

impl Report {
    pub(super) fn count(&self, outcome: Outcome) -> usize {
        self.findings.iter().filter(|finding| finding.outcome == outcome).count()
    }
}

impl Verdict {
    pub(super) fn split(self) -> (Outcome, String) {
        match self {
            Self::Kept(evidence) => (Outcome::Kept, evidence),
            Self::Broken(evidence) => (Outcome::Broken, evidence),
            Self::NotSupported(evidence) => (Outcome::NotSupported, evidence),
            Self::NotChecked(evidence) => (Outcome::NotChecked, evidence),
        }
    }

    /// `Broken` if there is any such evidence, otherwise `Kept`.
    pub(super) fn unless(broken: &[String], kept: impl Into<String>) -> Self {
        if broken.is_empty() { Self::Kept(kept.into()) } else { Self::Broken(broken.join("\n")) }
    }
}
