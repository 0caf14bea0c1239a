//! `cargo xtask fuzz`: cargo-fuzz on the targets in `fuzz/`, each for a while.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xshell::cmd;

use crate::workspace::{Workspace, on_path};

/// Feeds `target`, or each one after the other, for `time`. What breaks it is left in `fuzz/artifacts`; what only is new, in
/// `fuzz/corpus` below cargo's target directory, so that the next run goes on from there.
pub(crate) fn run(workspace: &Workspace, target: Option<String>, time: Duration) -> Result<()> {
    ensure!(on_path("cargo-fuzz").is_some(), "cargo-fuzz is not there: cargo install cargo-fuzz --locked");
    let sh = workspace.shell()?;
    // What cargo-fuzz asks of the compiler is unstable, and works on the stable one that everything else is built with.
    sh.set_var("RUSTC_BOOTSTRAP", "1");
    let build = workspace.target.join("fuzz");
    sh.set_var("CARGO_TARGET_DIR", &build);
    let all = cmd!(sh, "cargo fuzz list").read().context("cargo-fuzz found no targets")?;
    let targets = target.map_or_else(|| all.lines().map(str::to_owned).collect(), |target| vec![target]);
    let time = format!("-max_total_time={}", time.as_secs());
    for target in targets {
        let (found, committed) = (build.join("corpus").join(&target), format!("fuzz/corpus/{target}"));
        sh.create_dir(&found)?;
        // Nothing here is `unsafe`, so that a sanitizer would only make it slow.
        cmd!(
            sh,
            "cargo fuzz run --sanitizer none {target} {found} {committed} -- {time} -max_len=2048 -timeout=10"
        )
        .run()?;
    }
    Ok(())
}
