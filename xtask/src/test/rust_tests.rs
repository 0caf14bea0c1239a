//! Runs the tests of the Rust crates: by nextest, if it is installed, or else by Cargo.

use std::{env, fs, path::PathBuf, thread};

use anyhow::{Context, Result};
use xshell::{Cmd, Shell, cmd};

use crate::{
    compiler::Compiler,
    steps::Steps,
    test_summary::Runner,
    workspace::{Workspace, cargo, on_path},
};

/// Prints each failure, and the number of passed tests only.
const NEXTEST: [&str; 5] = ["nextest", "run", "--no-fail-fast", "--status-level", "fail"];

/// The variable of nextest for the number of tests at a time: <https://nexte.st/docs/configuration/env-vars/>.
const NEXTEST_THREADS: &str = "NEXTEST_TEST_THREADS";

/// The test programs that need the app and a display, or a browser.
const END_TO_END: [&str; 7] =
    ["app_deaths", "browser", "desktop", "hono", "node_sdk", "proxy", "single_instance"];

/// The runner of the Rust tests. The end-to-end tests are marked `#[ignore]`, because they need the app and a display.
#[derive(Clone, Debug)]
pub(crate) enum Tests {
    /// It calls Cargo, which compiles what is not up to date.
    Nextest,
    /// It runs the test programs as they were compiled, and does not call Cargo.
    Built(Built),
    /// It compiles by xtask, as the checks do, or else as Cargo does without them.
    Cargo(Option<Compiler>),
}

/// The files that tell nextest about the compiled test programs: <https://nexte.st/docs/ci-features/archiving/>.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    workspace: PathBuf,
    programs: PathBuf,
}

impl Tests {
    pub(crate) fn available() -> Self {
        if on_path("cargo-nextest").is_some() { Self::Nextest } else { Self::Cargo(None) }
    }

    /// As [`available`](Self::available), for tests that are compiled. With nextest, they run as they are at this moment.
    pub(super) fn built(
        workspace: &Workspace,
        sh: &Shell,
        steps: &mut Steps,
        compiler: &Compiler,
    ) -> Result<Self> {
        if matches!(Self::available(), Self::Cargo(_)) {
            return Ok(Self::Cargo(Some(compiler.clone())));
        }
        let file = |name: &str| workspace.target.join("xtask").join(name);
        let built = Built { workspace: file("workspace.json"), programs: file("test-programs.json") };
        steps.check("rust: list test programs", || {
            let list = ["--list-type", "binaries-only", "--message-format", "json"];
            let list = cargo(sh, &["nextest", "list"]).args(list);
            for (command, file) in [
                (cmd!(sh, "cargo metadata --format-version 1"), &built.workspace),
                (compiler.compiles(list), &built.programs),
            ] {
                let text = command.quiet().ignore_stderr().read()?;
                fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
            }
            Ok(())
        })?;
        Ok(Self::Built(built))
    }

    /// Whether each of the commands calls Cargo, which locks the build directory.
    pub(super) fn call_cargo(&self) -> bool {
        !matches!(self, Self::Built(_))
    }

    pub(crate) fn runner(&self) -> Runner {
        match self {
            Self::Nextest | Self::Built(_) => Runner::Nextest,
            Self::Cargo(_) => Runner::Cargo,
        }
    }

    /// All tests that are not ignored.
    pub(super) fn all<'sh>(&self, sh: &'sh Shell) -> Cmd<'sh> {
        match self {
            Self::Cargo(_) => self.cargo_test(sh).arg("--all-targets"),
            _ => self.nextest(sh, &[], ""),
        }
    }

    /// The tests of one example, which are ignored because they need its language.
    pub(super) fn of_example<'sh>(&self, sh: &'sh Shell, name: &str) -> Cmd<'sh> {
        self.ignored(sh, &[name], &[])
    }

    /// The tests of these names in one test program, which are ignored because they need other programs.
    pub(crate) fn named<'sh>(&self, sh: &'sh Shell, program: &str, names: &[&str]) -> Cmd<'sh> {
        self.ignored(sh, &[program], names)
    }

    /// The tests of these packages that run the fuzz targets on the committed corpus.
    pub(crate) fn corpora<'sh>(&self, sh: &'sh Shell, packages: &[&str]) -> Cmd<'sh> {
        match self {
            Self::Cargo(_) => self.cargo_test(sh).args(["--lib", "fuzzed::"]),
            _ => self.nextest(sh, &[], &both(&one_of("package", packages), "kind(=lib) & test(/^fuzzed::/)")),
        }
    }

    pub(super) fn end_to_end<'sh>(&self, sh: &'sh Shell) -> Cmd<'sh> {
        let command = self.ignored(sh, &END_TO_END, &[]);
        match self {
            Self::Cargo(_) => command,
            // The webviews keep the cores busy.
            _ => command.args(["--test-threads", "num-cpus"]),
        }
    }

    /// The ignored tests of these test programs: all of them, or those of these names.
    fn ignored<'sh>(&self, sh: &'sh Shell, programs: &[&str], names: &[&str]) -> Cmd<'sh> {
        if let Self::Cargo(_) = self {
            let programs = programs.iter().flat_map(|program| ["--test", program]);
            let command = self.cargo_test(sh).args(programs).args(["--", "--ignored"]);
            return if names.is_empty() { command } else { command.arg("--exact").args(names) };
        }
        self.nextest(sh, programs, &one_of("test", names)).args(["--run-ignored", "only"])
    }

    /// `cargo test`, which compiles as the checks do.
    fn cargo_test<'sh>(&self, sh: &'sh Shell) -> Cmd<'sh> {
        let command = cargo(sh, &["test"]).arg("--no-fail-fast");
        match self {
            Self::Cargo(Some(compiler)) => compiler.compiles(command),
            _ => command,
        }
    }

    /// The tests of these test programs, or of all, that `filter` selects.
    fn nextest<'sh>(&self, sh: &'sh Shell, programs: &[&str], filter: &str) -> Cmd<'sh> {
        let (command, filter) = match self {
            Self::Built(Built { workspace, programs: built }) => {
                let files =
                    cmd!(sh, "cargo {NEXTEST...} --cargo-metadata {workspace} --binaries-metadata {built}");
                (files, both(&one_of("binary", programs), filter))
            }
            _ => {
                let programs = programs.iter().flat_map(|program| ["--test", program]);
                (cargo(sh, &NEXTEST).args(programs), filter.to_owned())
            }
        };
        let filter = (!filter.is_empty()).then(|| ["-E".to_owned(), filter]);
        let command = command.args(filter.into_iter().flatten());
        match env::var_os(NEXTEST_THREADS) {
            Some(_) => command,
            None => command.env(NEXTEST_THREADS, threads().to_string()),
        }
    }
}

/// The filter of nextest for tests of which `predicate` names one of `names`, or none: <https://nexte.st/docs/filtersets/>.
fn one_of(predicate: &str, names: &[&str]) -> String {
    names.iter().map(|name| format!("{predicate}(={name})")).collect::<Vec<_>>().join(" | ")
}

/// The filter for tests that both filters select. An empty one selects all.
fn both(first: &str, second: &str) -> String {
    match (first, second) {
        ("", filter) | (filter, "") => filter.to_owned(),
        (first, second) => format!("({first}) & ({second})"),
    }
}

/// Two tests for each core: most wait half of their time and more, for processes to start and for time limits to pass.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get() * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words after those that all commands of the kind have.
    fn rest(command: &Cmd<'_>, after: &str) -> String {
        let line = command.to_string();
        line.split_once(after).unwrap_or_else(|| panic!("{line}")).1.trim().to_owned()
    }

    #[test]
    fn each_runner_selects_the_same_tests() {
        let sh = Shell::new().unwrap();
        let built = Tests::Built(Built { workspace: "/w".into(), programs: "/p".into() });
        assert!(!built.call_cargo() && Tests::Nextest.call_cargo() && Tests::Cargo(None).call_cargo());
        for (tests, after, all, example, named) in [
            (
                &built,
                "--binaries-metadata /p",
                "",
                "-E binary(=go) --run-ignored only",
                r#"-E "(binary(=package)) & (test(=a) | test(=b))" --run-ignored only"#,
            ),
            (
                &Tests::Nextest,
                "program",
                "",
                "--test go --run-ignored only",
                r#"--test package -E "test(=a) | test(=b)" --run-ignored only"#,
            ),
            (
                &Tests::Cargo(None),
                "--no-fail-fast",
                "--all-targets",
                "--test go -- --ignored",
                "--test package -- --ignored --exact a b",
            ),
        ] {
            assert_eq!(rest(&tests.all(&sh), after), all);
            assert_eq!(rest(&tests.of_example(&sh, "go"), after), example);
            assert_eq!(rest(&tests.named(&sh, "package", &["a", "b"]), after), named);
        }
    }
}
