//! The launchers of `crates/integration-tests/tests/orphans/launchers.rs`: programs that people put in front of a server. The
//! tests find them on the `PATH` and in `tools/launchers/bin` of the target folder.

use std::path::Path;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::{
    npm, setup,
    steps::Steps,
    workspace::{Workspace, on_path},
};

/// The launchers that `PyPI` has, with the versions that the tests know.
const PYTHON: [(&str, &str); 3] =
    [("uv", "uv==0.13.9"), ("dumb-init", "dumb-init==1.2.5.post1"), ("pyinstaller", "pyinstaller==6.22.3")];

const PNPM: &str = "pnpm@10.34.9";

/// Installs the missing launchers. The tests of one that cannot be installed are skipped, and the output names it.
pub(crate) fn install(workspace: &Workspace, sh: &Shell, steps: &mut Steps) {
    let folder = workspace.target.join("tools/launchers");
    let is_there = |program: &str| on_path(program).is_some() || folder.join("bin").join(program).is_file();
    for (program, package) in PYTHON {
        if !is_there(program)
            && let Err(error) = pip(sh, &folder, package)
        {
            steps.skip(&format!("launcher: {program}"), &format!("{error:#}"));
        }
    }
    if !is_there("pnpm")
        && let Err(error) =
            run(npm::npm(sh, &["install", "--global", "--silent", "--prefix"]).arg(&folder).arg(PNPM))
    {
        steps.skip("launcher: pnpm", &format!("{error:#}"));
    }
    // Neither registry has it.
    if let Err(error) = setup::ensure_tini() {
        steps.skip("launcher: tini", &format!("{error:#}"));
    }
}

fn pip(sh: &Shell, folder: &Path, package: &str) -> Result<()> {
    let python = ["python3", "python"].into_iter().find_map(on_path).context("Python is not installed")?;
    let pip = folder.join("bin/pip");
    if !pip.is_file() {
        run(cmd!(sh, "{python} -m venv {folder}"))?;
    }
    run(cmd!(sh, "{pip} install --quiet --only-binary :all: {package}"))
}

fn run(command: xshell::Cmd<'_>) -> Result<()> {
    let words = command.to_string();
    command.quiet().ignore_stdout().ignore_stderr().run().with_context(|| format!("`{words}` failed"))
}
