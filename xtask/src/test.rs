//! `cargo xtask test`: everything that must hold before a change is merged, cheapest first.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use xshell::{Cmd, Shell, cmd};

use crate::{
    counts::Runner,
    display::Xvfb,
    npm,
    setup::{self, Purpose},
    sidecar,
    steps::Steps,
    workspace::{Workspace, cargo, on_path, program},
};

/// Runs all steps up to the first that fails, and closes with one line that counts the tests.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let mut steps = Steps::new(workspace.target.join("xtask"))?;
    let outcome = run_steps(workspace, &mut steps);
    let mut total = steps.total;
    if let Err(error) = &outcome {
        eprintln!("\nxtask: {error:#}\n");
        // A step without tests, such as one that does not compile, is a failure that the line below must show.
        total.failed = total.failed.max(1);
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(if total.failed == 0 && total.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_steps(workspace: &Workspace, steps: &mut Steps) -> Result<()> {
    let sh = workspace.shell()?;
    // Closing lines are read, so nobody may colour them.
    for (name, value) in [("NO_COLOR", "1"), ("CARGO_TERM_COLOR", "never"), ("FORCE_COLOR", "0")] {
        sh.set_var(name, value);
    }

    setup::ensure(Purpose::Drive)?;
    npm::install(workspace)?;
    steps.run("rustfmt", cmd!(sh, "cargo fmt --all --check -- --color never"))?;
    steps.run("front end: check", npm::npm(&sh, &["run", "check"]))?;
    steps.tests("front end: vitest", Runner::Vitest, npm::npm(&sh, &["test"]))?;
    steps.run("front end: build", npm::npm(&sh, &["run", "build"]))?;
    steps.run(
        "hono example: build",
        npm::npm(&sh, &["run", "build", "--workspace", "examples/hono-backend"]),
    )?;
    if on_path("cargo-deny").is_some() {
        steps.run("cargo deny", cmd!(sh, "cargo deny check bans licenses sources"))?;
    }

    steps.run("backend", sidecar::compile(&sh, false, None))?;
    sidecar::install(workspace, false, None)?;
    steps.run("clippy", cargo(&sh, &["clippy"]).args(["--all-targets", "--", "-D", "warnings"]))?;
    let tests = Tests::available();
    steps.tests("rust: tests", tests.runner(), tests.all(&sh))?;
    if cfg!(target_os = "linux") {
        // The tests' helper programs were built with the tests.
        let soak = workspace.programs(false).join("orphans-soak");
        steps.tests("soak: orphans", Runner::Soak, cmd!(sh, "{soak} --rounds 200"))?;
    }
    steps.tests("rust: doctests", Runner::Cargo, cargo(&sh, &["test"]).arg("--doc"))?;
    // With the tests selected as well, Cargo resolves the features as it did for them, and takes up what it compiled.
    steps.run(
        "app",
        cargo(&sh, &["build"]).args(["--bin", "aios", "--bin", "fake-app", "--bin", "screenshot", "--tests"]),
    )?;

    let driver = tauri_driver(workspace, &sh, steps)?;
    let display = Xvfb::start()?;
    sh.set_var("DISPLAY", &display.name);
    sh.set_var("GDK_BACKEND", "x11");
    sh.set_var("TAURI_DRIVER", driver);
    sh.set_var("AIOS_APP", workspace.programs(false).join(program("aios")));
    sh.set_var("AIOS_SCREENSHOTS", workspace.target.join("screenshots"));
    steps.tests("end to end", tests.runner(), tests.end_to_end(&sh))
}

/// All failures, and nothing but failures: what passes is counted at the end.
const NEXTEST: &[&str] = &["nextest", "run", "--no-fail-fast", "--status-level", "fail"];

/// What needs an app and a display, or a browser.
#[rustfmt::skip]
const END_TO_END: &[&str] = &[
    "--test", "app_deaths", "--test", "browser", "--test", "desktop", "--test", "hono", "--test", "single_instance",
];

/// How Rust tests are run here. The end-to-end tests are marked `#[ignore]`, because they need the app and a display.
#[derive(Clone, Copy)]
enum Tests {
    Nextest,
    Cargo,
}

impl Tests {
    fn available() -> Self {
        if on_path("cargo-nextest").is_some() { Self::Nextest } else { Self::Cargo }
    }

    fn runner(self) -> Runner {
        match self {
            Self::Nextest => Runner::Nextest,
            Self::Cargo => Runner::Cargo,
        }
    }

    fn all(self, sh: &Shell) -> Cmd<'_> {
        match self {
            Self::Nextest => cargo(sh, NEXTEST),
            Self::Cargo => cargo(sh, &["test"]).args(["--no-fail-fast", "--all-targets"]),
        }
    }

    fn end_to_end(self, sh: &Shell) -> Cmd<'_> {
        match self {
            Self::Nextest => cargo(sh, NEXTEST).args(END_TO_END).args(["--run-ignored", "only"]),
            Self::Cargo => {
                cargo(sh, &["test"]).arg("--no-fail-fast").args(END_TO_END).args(["--", "--ignored"])
            }
        }
    }
}

/// The WebDriver front of Tauri, from the `PATH` or installed once below the target folder.
fn tauri_driver(workspace: &Workspace, sh: &Shell, steps: &mut Steps) -> Result<PathBuf> {
    if let Some(driver) = on_path("tauri-driver") {
        return Ok(driver);
    }
    let root = workspace.target.join("tools");
    let driver = root.join("bin").join(program("tauri-driver"));
    if !driver.is_file() {
        steps.run(
            "tauri-driver",
            cmd!(sh, "cargo install tauri-driver --locked --version ^2 --root {root}"),
        )?;
    }
    Ok(driver)
}
