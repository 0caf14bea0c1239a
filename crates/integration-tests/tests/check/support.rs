//! Runs `pillion check`, and reads its report.

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
};

use integration_tests::{ProcessTree, TestMarker};
use serde_json::Value;

pub(crate) const PILLION: &str = env!("CARGO_BIN_EXE_pillion-under-test");
pub(crate) const MUTANT: &str = env!("CARGO_BIN_EXE_mutant-sidecar");

pub(crate) fn tree() -> ProcessTree {
    ProcessTree::new(env!("CARGO_BIN_EXE_fake-sidecar"))
}

/// A check that has ended.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `pillion check` with these arguments to its end. Afterwards no process is left, or the test fails.
pub(crate) fn check(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Checked {
    let tree = tree();
    let output = command(&tree, arguments).output().unwrap();
    tree.assert_dead();
    Checked {
        status: output.status.code().expect("no signal ended pillion"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn command(tree: &ProcessTree, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(PILLION);
    command.arg("check").args(arguments);
    // As on a developer's machine: these variables are not for the program.
    command.env("PORT", "1").env("PILLION_TOKEN", "x").env(TestMarker::VARIABLE, tree.marker());
    command.stdin(Stdio::null());
    command
}

impl Checked {
    /// The report of `--json`.
    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The names of the checks with this outcome.
    pub(crate) fn with_outcome(&self, outcome: &str) -> Vec<String> {
        let report = self.report();
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().filter(|finding| finding["outcome"] == outcome);
        found.map(|finding| finding["check"].as_str().unwrap().to_owned()).collect()
    }

    /// Fails unless every check says `kept`.
    pub(crate) fn assert_keeps_everything(&self) {
        for outcome in ["broken", "notSupported", "notChecked"] {
            assert!(self.with_outcome(outcome).is_empty(), "{outcome}: {}", self.stdout);
        }
        assert_eq!((self.status, self.stderr.as_str()), (0, ""));
    }
}
