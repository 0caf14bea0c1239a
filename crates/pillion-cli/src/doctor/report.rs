//! What the doctor found, as data. Pure: [`render`](super::render) shows it.

use std::{borrow::Cow, path::PathBuf};

use serde::{Serialize, Serializer};

use super::catalogue::{Kind, Severity};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    #[serde(flatten, serialize_with = "kind")]
    pub(super) kind: &'static Kind,
    /// The file, the field or the machine that it is about.
    pub(super) place: String,
    /// The values that were seen.
    pub(super) detail: String,
    /// What to do: the words of the kind, or others that fit this project.
    pub(super) cure: Cow<'static, str>,
    /// Whether `--fix` has corrected it.
    pub(super) fixed: bool,
    /// What `--fix` does.
    #[serde(skip)]
    pub(super) fix: Option<Fix>,
}

/// A change that is safe to make without a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fix {
    /// Adds these bits to the mode of a file.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only Unix has modes"))]
    Mode { file: PathBuf, bits: u32 },
    /// Appends a line to a file, which is created if it is missing.
    Line { file: PathBuf, line: String },
    /// Adds permissions to the capability below these keys of a file.
    Permissions { file: PathBuf, keys: Vec<String>, identifiers: Vec<&'static str> },
}

impl Finding {
    pub(super) fn new(kind: &'static Kind, place: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            kind,
            place: place.into(),
            detail: detail.into(),
            cure: kind.cure.into(),
            fixed: false,
            fix: None,
        }
    }

    pub(super) fn with_fix(self, fix: Fix) -> Self {
        Self { fix: Some(fix), ..self }
    }
}

fn kind<S: Serializer>(kind: &&'static Kind, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Shown<'a> {
        id: &'a str,
        level: Severity,
        area: super::catalogue::Area,
        what: &'a str,
        why: &'a str,
        fixable: bool,
    }
    let Kind { id, level, area, what, why, fixable, cure: _, by_hand: _ } = **kind;
    Shown { id, level, area, what, why, fixable }.serialize(serializer)
}

/// The whole report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The folder of the Tauri configuration.
    pub(super) project: String,
    /// The targets whose binaries must exist.
    pub(super) targets: Vec<String>,
    pub(super) findings: Vec<Finding>,
    /// How many findings `--ignore` left out.
    pub(super) ignored: usize,
}

impl Report {
    /// The findings of this level that are not corrected.
    pub(super) fn count(&self, level: Severity) -> usize {
        self.findings.iter().filter(|finding| !finding.fixed && finding.kind.level == level).count()
    }

    /// The findings that `--fix` would correct.
    pub(super) fn fixable(&self) -> usize {
        self.findings.iter().filter(|finding| !finding.fixed && finding.fix.is_some()).count()
    }
}
