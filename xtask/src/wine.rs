//! `cargo xtask wine`: builds the Windows code on Linux and runs its tests under Wine. `cargo xtask test` does not include
//! it; run it by hand.
//!
//! It uses rustup's compiler if that has the standard library for this target (`rustup target add x86_64-pc-windows-gnu`). Otherwise it
//! uses Debian's compiler and builds the library from Debian's source package, so that it works where rustup cannot download it.
//! `RUSTC_BOOTSTRAP` allows the stable compiler to do so.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use xshell::{Cmd, Shell, cmd};

use crate::{
    setup::{self, Purpose},
    steps::Steps,
    test_summary::Runner,
    workspace::Workspace,
};

const TARGET: &str = "x86_64-pc-windows-gnu";
/// The programs of Debian's rustc-web and cargo-web. The `PATH` may name others.
const CARGO: &str = "/usr/bin/cargo";
const RUSTC: &str = "/usr/bin/rustc";
/// The parts of the standard library to build for the target, with the test harness.
const STD: &str = "-Zbuild-std=std,test,panic_abort,panic_unwind,proc_macro";

const WEBVIEW_LOADER: &str = "WebView2Loader.dll";

/// The packages whose tests run.
const RUN: [&str; 10] = [
    "windows-tests",
    "pillion",
    "pillion-protocol",
    "pillion-config",
    "pillion-control",
    "pillion-build",
    "pillion-server",
    "pillion-cli",
    "tauri-plugin-pillion",
    "aios-backend",
];
/// Parts of the names of tests that Wine cannot run.
const SKIPPED: [&str; 3] = [
    // The commands that find running apps, and the test of the plugin that does so: Wine does not list the names of pipes.
    "running_apps::",
    "other_programs_find_the_app_until_it_closes_its_sidecars_unless_it_says_no",
    // It runs rustc, which Wine's prefix does not have.
    "the_host_is_a_triple_of_this_system",
];
/// The packages that are type-checked with all features.
const CHECKED: [&str; 4] = ["pillion", "pillion-server", "pillion-cli", "tauri-plugin-pillion"];

/// The standard library takes random numbers from `ProcessPrng`, which Windows has since version 10 and Wine since version 9.
/// Under an older Wine, a program that needs it exits with code 53 and prints nothing. This source replaces the DLL.
const SHIM: &str = r#"#include <windows.h>
BOOLEAN WINAPI SystemFunction036(PVOID buffer, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) {
    return SystemFunction036(buffer, (ULONG)length);
}
"#;

/// Runs all steps until one fails. At the end, prints which packages ran and which were type-checked only.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    setup::ensure(Purpose::Wine)?;
    let sh = workspace.shell()?;
    let toolchain = Toolchain::find(&sh);
    if toolchain == Toolchain::Debian {
        setup::ensure_debian_rust()?;
        sh.set_var("RUSTC", RUSTC);
        sh.set_var("RUSTC_BOOTSTRAP", "1");
    }
    let prefix = workspace.target.join("wine");
    for (name, value) in [
        ("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", "wine"),
        ("CARGO_TERM_COLOR", "never"),
        // Without this, Wine writes a message about each function that it lacks to stderr, which tests read.
        ("WINEDEBUG", "-all"),
    ] {
        sh.set_var(name, value);
    }
    sh.set_var("WINEPREFIX", &prefix);

    Steps::run_all(workspace.target.join("xtask-wine"), |steps| {
        let result = run_steps(&sh, toolchain, &workspace.target, &prefix, steps);
        // Stop Wine's background processes now; they would end later by themselves.
        let _ = cmd!(sh, "wineserver -k").quiet().ignore_stderr().run();
        result?;
        let version = cmd!(sh, "wine --version").quiet().ignore_stderr().read()?;
        println!("\nran under {version}: {}", RUN.join(", "));
        println!("type-checked, with all features: {}", CHECKED.join(", "));
        Ok(())
    })
}

fn run_steps(
    sh: &Shell,
    toolchain: Toolchain,
    target: &Path,
    prefix: &Path,
    steps: &mut Steps,
) -> Result<()> {
    if !prefix.join("system.reg").is_file() {
        fs::create_dir_all(prefix).with_context(|| format!("cannot create {}", prefix.display()))?;
        steps.run("wine: prefix", cmd!(sh, "wineboot --init"))?;
        steps.run("wine: set Windows 10", cmd!(sh, "winecfg -v win10"))?;
    }
    let system = prefix.join("drive_c/windows/system32");
    let random = system.join("bcryptprimitives.dll");
    if !random.is_file() {
        let source = prefix.join("bcryptprimitives.c");
        sh.write_file(&source, SHIM)?;
        steps.run(
            "wine: bcryptprimitives.dll",
            cmd!(sh, "x86_64-w64-mingw32-gcc -shared -o {random} {source} -ladvapi32"),
        )?;
    }
    // All at once: Cargo then compiles each dependency with one set of features.
    let packages = || RUN.iter().flat_map(|package| ["--package", package]);
    let build = ["--all-targets", "--no-run"].into_iter().chain(packages());
    steps.run("build the tests", toolchain.cargo(sh, "test").args(build))?;
    sh.copy_file(webview_loader(target)?, system.join(WEBVIEW_LOADER))?;
    // One test at a time: Wine's single server process does the work of the kernel and is slow.
    let test = ["--all-targets", "--no-fail-fast"].into_iter().chain(packages());
    let test =
        test.chain(["--", "--test-threads", "1"]).chain(SKIPPED.iter().flat_map(|name| ["--skip", name]));
    steps.tests("run the tests", Runner::Cargo, toolchain.cargo(sh, "test").args(test))?;
    let checked = CHECKED.iter().flat_map(|package| ["--package", package]);
    steps.run("check with all features", toolchain.cargo(sh, "check").arg("--all-features").args(checked))?;
    // Without any feature, and with each alone. The packages that it depends on are compiled once.
    for features in ["", "control", "websocket", "zip"] {
        let plugin = ["--package", "tauri-plugin-pillion", "--no-default-features", "--features", features];
        let name = format!("check the plugin with the features {features:?}");
        steps.run(&name, toolchain.cargo(sh, "check").args(plugin))?;
    }
    Ok(())
}

/// The library that each program with Tauri loads at its start, also one whose webview is a mock. A crate of Tauri's brings it, and its
/// build script copies it to a folder of its own.
fn webview_loader(target: &Path) -> Result<PathBuf> {
    let folder = target.join(TARGET).join("debug/build");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let built = entries.flatten().map(|entry| entry.path().join("out/x64").join(WEBVIEW_LOADER));
    // After an update of the crate, the folders of both are there.
    let newest = |file: &PathBuf| fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
    built
        .filter(|file| file.is_file())
        .max_by_key(newest)
        .with_context(|| format!("no {WEBVIEW_LOADER} in {}: was the plugin compiled?", folder.display()))
}

/// The compiler, and from where it takes the standard library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Toolchain {
    /// rustup has installed the library.
    Rustup,
    Debian,
}

impl Toolchain {
    fn find(sh: &Shell) -> Self {
        let installed = cmd!(sh, "rustup target list --installed").quiet().ignore_stderr().read();
        if installed.is_ok_and(|targets| targets.lines().any(|it| it == TARGET)) {
            Self::Rustup
        } else {
            Self::Debian
        }
    }

    fn cargo<'sh>(self, sh: &'sh Shell, command: &str) -> Cmd<'sh> {
        match self {
            Self::Rustup => cmd!(sh, "cargo {command} --target {TARGET}"),
            Self::Debian => cmd!(sh, "{CARGO} {command} {STD} --target {TARGET}"),
        }
    }
}
