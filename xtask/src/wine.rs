//! `cargo xtask wine`: the tests of the Windows code, built on Linux and run under Wine. Run by hand; it is no part of
//! `cargo xtask test`.
//!
//! rustup has no build of the standard library for this target where it cannot be downloaded, so that Debian's compiler is
//! used, which comes with the library's source. `RUSTC_BOOTSTRAP` allows it to build that.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use xshell::{Cmd, Shell, cmd};

use crate::{
    counts::Runner,
    setup::{self, Purpose},
    steps::Steps,
    workspace::Workspace,
};

const TARGET: &str = "x86_64-pc-windows-gnu";
/// What Debian's rustc-web and cargo-web install, whatever comes first on the `PATH`.
const CARGO: &str = "/usr/bin/cargo";
const RUSTC: &str = "/usr/bin/rustc";
/// What is built anew for the target: the library, and the harness of the tests.
const STD: &str = "-Zbuild-std=std,test,panic_abort,panic_unwind,proc_macro";

/// What runs: processes and pipes for real, and the parsers and state machine beside them.
const RUN: [&str; 4] = ["windows-tests", "pillion", "pillion-protocol", "aios-backend"];
/// What is type-checked with all its features; of the command and the plugin nothing else is done.
const CHECKED: [&str; 4] = ["pillion", "pillion-server", "pillion-cli", "tauri-plugin-pillion"];

/// The standard library takes random numbers from `ProcessPrng`, which Windows has had since version 10, and Wine not before
/// version 9. A program that needs it does not start: exit code 53, and not a word.
const SHIM: &str = r#"#include <windows.h>
BOOLEAN WINAPI SystemFunction036(PVOID buffer, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) {
    return SystemFunction036(buffer, (ULONG)length);
}
"#;

/// Runs all steps up to the first that fails, and closes with what ran and what was type-checked.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    setup::ensure(Purpose::Wine)?;
    let mut steps = Steps::new(workspace.target.join("xtask-wine"))?;
    let sh = workspace.shell()?;
    let prefix = workspace.target.join("wine");
    for (name, value) in [
        ("RUSTC", RUSTC),
        ("RUSTC_BOOTSTRAP", "1"),
        ("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", "wine"),
        ("CARGO_TERM_COLOR", "never"),
        // Wine tells of every function that it lacks, on the stderr of programs whose stderr is looked at.
        ("WINEDEBUG", "-all"),
    ] {
        sh.set_var(name, value);
    }
    sh.set_var("WINEPREFIX", &prefix);

    let ran = run_steps(&sh, &prefix, &mut steps);
    // Programs that Wine keeps for the next one; they end by themselves otherwise, but not at once.
    let _ = cmd!(sh, "wineserver -k").quiet().ignore_stderr().run();
    ran?;
    let version = cmd!(sh, "wine --version").quiet().ignore_stderr().read()?;
    println!("\nran under {version}: {}", RUN.join(", "));
    println!("type-checked, with all features: {}", CHECKED.join(", "));
    println!("{} passed, {} failed", steps.total.passed, steps.total.failed);
    Ok(ExitCode::SUCCESS)
}

fn run_steps(sh: &Shell, prefix: &Path, steps: &mut Steps) -> Result<()> {
    if !prefix.join("system.reg").is_file() {
        fs::create_dir_all(prefix).with_context(|| format!("cannot make {}", prefix.display()))?;
        steps.run("wine: prefix", cmd!(sh, "wineboot --init"))?;
        steps.run("wine: be Windows 10", cmd!(sh, "winecfg -v win10"))?;
    }
    let system = prefix.join("drive_c/windows/system32/bcryptprimitives.dll");
    if !system.is_file() {
        let source = prefix.join("bcryptprimitives.c");
        sh.write_file(&source, SHIM)?;
        steps.run(
            "wine: bcryptprimitives.dll",
            cmd!(sh, "x86_64-w64-mingw32-gcc -shared -o {system} {source} -ladvapi32"),
        )?;
    }
    for package in CHECKED {
        let check = ["--all-features", "--package", package];
        steps.run(&format!("check: {package}"), cargo(sh, "check").args(check))?;
    }
    for package in RUN {
        // One at a time: Wine's one server does the work of a kernel.
        let test = ["--all-targets", "--package", package, "--", "--test-threads", "1"];
        steps.tests(&format!("wine: {package}"), Runner::Cargo, cargo(sh, "test").args(test))?;
    }
    Ok(())
}

fn cargo<'sh>(sh: &'sh Shell, command: &str) -> Cmd<'sh> {
    cmd!(sh, "{CARGO} {command} {STD} --target {TARGET}")
}
