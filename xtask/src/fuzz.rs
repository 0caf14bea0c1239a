//! `cargo xtask fuzz`: runs the fuzz targets of `fuzz/` with cargo-fuzz. `cargo xtask test` runs them on the committed corpus alone.

use std::{
    env,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::{
    steps::Steps,
    test_summary::Runner,
    workspace::{Workspace, on_path, program},
};

/// The crates that include a file of `fuzz/bodies`.
const FUZZED: [&str; 3] = ["pillion-protocol", "pillion-server", "pillion"];

/// Packages without a library, of which `--lib` compiles nothing. Cargo enables the features of dependencies that the selected packages need:
/// with these packages and [`FEATURES`], each dependency has the features with which the other steps have compiled it.
/// `cargo test --unit-graph` (unstable) lists them.
const FOR_FEATURES: [&str; 7] =
    ["empty-shell", "fake-app", "minimal-sidecar", "pillion-bench", "routes", "third-party-servers", "xtask"];

/// The features of the crates themselves, as the other packages of the workspace enable them.
const FEATURES: &str = if cfg!(target_os = "linux") {
    "pillion/schema,pillion/ts,pillion-protocol/openapi,pillion-server/openapi,pillion-guard/program"
} else {
    "pillion/schema,pillion/ts,pillion-protocol/openapi,pillion-server/openapi"
};

/// Set for the compiler of [`replay`], which is then this program.
const WRAPS_RUSTC: &str = "PILLION_XTASK_WRAPS_RUSTC";

/// Runs each fuzz target on its committed corpus.
///
/// The targets call private functions, so they are modules of the crates, which only `cfg(pillion_fuzzing)` compiles: the published packages do
/// not contain them, and cargo-fuzz sets `cfg(fuzzing)` for all crates of an app that is fuzzed. A wrapper of the compiler sets it for the
/// crates of this repository alone (<https://doc.rust-lang.org/cargo/reference/config.html#buildrustc-workspace-wrapper>): with `RUSTFLAGS`,
/// Cargo would compile each dependency again.
pub(crate) fn replay(workspace: &Workspace, sh: &Shell, steps: &mut Steps) -> Result<()> {
    // Not `current_exe`: Cargo may have replaced the file of the program that runs.
    let this = workspace.programs(false).join(program("xtask"));
    let packages = FUZZED.iter().chain(&FOR_FEATURES).flat_map(|package| ["--package", package]);
    let test = cmd!(sh, "cargo test --quiet --lib --no-fail-fast --features {FEATURES}")
        .args(packages)
        .arg("fuzzed::");
    let before = steps.passed();
    steps.tests(
        "fuzz: corpora",
        Runner::Cargo,
        test.env("RUSTC_WORKSPACE_WRAPPER", this).env(WRAPS_RUSTC, "1"),
    )?;
    let replayed = steps.passed() - before;
    ensure!(
        replayed == FUZZED.len() as u64,
        "{replayed} tests replay a corpus: each of {} has one",
        FUZZED.join(", ")
    );
    Ok(())
}

/// As the compiler's wrapper, which Cargo calls with the compiler and its arguments: compiles, and returns the exit code. Otherwise `None`.
pub(crate) fn wrapped_rustc() -> Option<ExitCode> {
    env::var_os(WRAPS_RUSTC)?;
    let mut words = env::args_os().skip(1);
    let compiler = words.next()?;
    Some(match Command::new(&compiler).args(words).args(["--cfg", "pillion_fuzzing"]).status() {
        Ok(status) => {
            status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            eprintln!("xtask: cannot start {}: {error}", compiler.display());
            ExitCode::FAILURE
        }
    })
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
