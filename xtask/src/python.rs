//! Checks and tests the Python SDK, with the packages of its requirements file in a virtual environment of the target folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::{
    steps::Steps,
    test_summary::Runner,
    workspace::{Workspace, on_path, program},
};

/// The packages for the checks and tests, in exact versions.
const REQUIREMENTS: &str = "sdk/python/requirements-dev.txt";

/// A virtual environment with the packages of [`REQUIREMENTS`].
pub(crate) struct Environment {
    /// Its Python.
    pub(crate) python: PathBuf,
    /// The folder of the downloaded packages, from which the tests install without a network.
    wheels: PathBuf,
}

impl Environment {
    /// The folder of its programs.
    pub(crate) fn programs(&self) -> PathBuf {
        self.python.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// Returns the environment. Makes it if it is missing, or if the requirements have changed.
    ///
    /// # Errors
    ///
    /// Fails if Python or its module venv is missing, or if pip cannot install the packages, for example without a network.
    pub(crate) fn find_or_install(workspace: &Workspace, sh: &Shell) -> Result<Self> {
        let folder = workspace.target.join("python");
        let venv = folder.join("venv");
        let python = venv.join(if cfg!(windows) { "Scripts" } else { "bin" }).join(program("python"));
        let environment = Self { python, wheels: folder.join("wheels") };
        let wanted = fs::read(workspace.root.join(REQUIREMENTS))
            .with_context(|| format!("cannot read {REQUIREMENTS}"))?;
        let stamp = folder.join("installed-requirements.txt");
        if fs::read(&stamp).is_ok_and(|installed| installed == wanted) && environment.python.is_file() {
            return Ok(environment);
        }
        let system =
            ["python3", "python"].into_iter().find_map(on_path).context("Python is not installed")?;
        let (python, wheels) = (&environment.python, &environment.wheels);
        let quiet = |command: xshell::Cmd<'_>| command.quiet().ignore_stdout().ignore_stderr().run();
        quiet(cmd!(sh, "{system} -m venv --clear {venv}"))
            .with_context(|| format!("`{} -m venv` failed", system.display()))?;
        quiet(cmd!(
            sh,
            "{python} -m pip download --quiet --only-binary :all: --dest {wheels} -r {REQUIREMENTS}"
        ))
        .with_context(|| format!("`pip download -r {REQUIREMENTS}` failed"))?;
        quiet(cmd!(sh, "{python} -m pip install --quiet --no-index --find-links {wheels} -r {REQUIREMENTS}"))
            .with_context(|| format!("`pip install -r {REQUIREMENTS}` failed"))?;
        fs::write(stamp, wanted)?;
        Ok(environment)
    }
}

/// Runs the checks and the tests of the Python SDK.
pub(crate) fn steps(
    environment: &Environment,
    workspace: &Workspace,
    sh: &Shell,
    steps: &mut Steps,
) -> Result<()> {
    let Environment { python, wheels } = environment;
    let _folder = sh.push_dir(sdk(workspace));
    let example = "../../examples/fastapi-backend";
    steps.run("python: ruff", cmd!(sh, "{python} -m ruff check --no-cache . {example}"))?;
    steps.run("python: ruff format", cmd!(sh, "{python} -m ruff format --no-cache --check . {example}"))?;
    let cache = workspace.target.join("python/mypy");
    steps.run("python: mypy", cmd!(sh, "{python} -m mypy --cache-dir {cache}"))?;
    steps.tests(
        "python: pytest",
        Runner::Pytest,
        cmd!(sh, "{python} -m pytest --quiet")
            .env("PILLION_TEST_WHEELS", wheels)
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )
}

/// The folder of the Python SDK.
pub(crate) fn sdk(workspace: &Workspace) -> PathBuf {
    workspace.root.join(Path::new(REQUIREMENTS).parent().unwrap_or(Path::new("")))
}
