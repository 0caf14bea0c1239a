//! `cargo xtask fuzz`: runs the fuzz targets of `fuzz/` with cargo-fuzz. `cargo xtask test` runs them on the committed corpus alone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::{
    steps::Steps,
    test::Tests,
    workspace::{Workspace, on_path},
};

/// The crates that include a file of `fuzz/bodies`.
const FUZZED: [&str; 3] = ["pillion-protocol", "pillion-server", "pillion"];

/// What [`FUZZED`] crates are compiled with to contain the fuzz targets.
const FLAGS: [&str; 2] = ["--cfg", "pillion_fuzzing"];

/// The compiler's flags for a package whose unit tests run the fuzz targets on the committed corpus, or none.
///
/// The targets call private functions, so they are modules of the crates, which only `cfg(pillion_fuzzing)` compiles: the published packages do
/// not contain them, and cargo-fuzz sets `cfg(fuzzing)` for all crates of an app that is fuzzed.
pub(crate) fn flags_of(package: &str) -> &'static [&'static str] {
    if FUZZED.contains(&package) { &FLAGS } else { &[] }
}

/// Runs each fuzz target on its committed corpus. The tests are compiled.
pub(crate) fn replay(sh: &Shell, steps: &mut Steps, tests: &Tests) -> Result<()> {
    let before = steps.passed();
    steps.tests("fuzz: corpora", tests.runner(), tests.corpora(sh, &FUZZED))?;
    let replayed = steps.passed() - before;
    ensure!(
        replayed == FUZZED.len() as u64,
        "{replayed} tests replay a corpus: each of {} has one",
        FUZZED.join(", ")
    );
    Ok(())
}

/// Fuzzes `target`, or each target in turn, for `time`. cargo-fuzz writes an input that crashes a target to
/// `fuzz/artifacts`. An input that reaches new code goes to `fuzz/corpus` in Cargo's target directory, and the next run
/// starts from there.
pub(crate) fn run(workspace: &Workspace, target: Option<String>, time: Duration) -> Result<()> {
    ensure!(
        on_path("cargo-fuzz").is_some(),
        "cargo-fuzz is missing: run `cargo install cargo-fuzz --locked`"
    );
    let sh = workspace.shell()?;
    // cargo-fuzz uses unstable compiler options; this variable allows them on the stable compiler.
    sh.set_var("RUSTC_BOOTSTRAP", "1");
    // cargo-fuzz adds its own flags to these.
    sh.set_var("RUSTFLAGS", "--cfg pillion_fuzzing");
    let build = workspace.target.join("fuzz");
    sh.set_var("CARGO_TARGET_DIR", &build);
    let all = cmd!(sh, "cargo fuzz list").read().context("cannot list the fuzz targets")?;
    let targets = target.map_or_else(|| all.lines().map(str::to_owned).collect(), |target| vec![target]);
    let time = format!("-max_total_time={}", time.as_secs());
    for target in targets {
        let (found, committed) = (build.join("corpus").join(&target), format!("fuzz/corpus/{target}"));
        sh.create_dir(&found)?;
        // The targets contain no `unsafe` code, so a sanitizer would find nothing and only make them slow.
        cmd!(
            sh,
            "cargo fuzz run --sanitizer none {target} {found} {committed} -- {time} -max_len=2048 -timeout=10"
        )
        .run()?;
    }
    Ok(())
}
