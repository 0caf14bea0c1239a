//! `cargo xtask fuzz`: runs the fuzz targets of `fuzz/` with cargo-fuzz. `cargo xtask test` runs them on the committed corpus alone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xshell::{Shell, cmd};

use crate::{
    steps::Steps,
    test_summary::Runner,
    workspace::{Workspace, on_path},
};

/// The crates that include a file of `fuzz/bodies`.
const FUZZED: [&str; 3] = ["pillion-protocol", "pillion-server", "pillion"];

/// Runs each fuzz target on its committed corpus.
///
/// The targets call private functions, so they are modules of the crates, which only `cfg(pillion_fuzzing)` compiles: the published packages do
/// not contain them, and cargo-fuzz sets `cfg(fuzzing)` for all crates of an app that is fuzzed. `cargo rustc` sets it for one crate alone, and so no dependency is compiled again.
pub(crate) fn replay(sh: &Shell, steps: &mut Steps) -> Result<()> {
    for package in FUZZED {
        let mut program = None;
        let build = cmd!(
            sh,
            "cargo rustc --quiet --package {package} --lib --profile test --message-format json -- --cfg pillion_fuzzing"
        );
        steps.check(&format!("fuzz: build {package}"), || {
            let messages = build.quiet().read()?;
            program = test_program(&messages);
            ensure!(program.is_some(), "cargo rustc names no test program");
            Ok(())
        })?;
        if let Some(program) = program {
            steps.tests(
                &format!("fuzz: corpus of {package}"),
                Runner::Cargo,
                cmd!(sh, "{program} fuzzed::"),
            )?;
        }
    }
    Ok(())
}

/// The program in the messages of a build: <https://doc.rust-lang.org/cargo/reference/external-tools.html#artifact-messages>.
fn test_program(messages: &str) -> Option<String> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter_map(|message| message["executable"].as_str().map(str::to_owned)).next_back()
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
