//! `cargo xtask fuzz`: runs the fuzz targets of `fuzz/` with cargo-fuzz.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xshell::cmd;

use crate::workspace::{Workspace, on_path};

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
