//! `cargo xtask test`: the checks that must pass before a change is merged, cheapest first.

mod rust_tests;

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::Result;
use virtual_display::Xvfb;
use xshell::{Shell, cmd};

pub(crate) use self::rust_tests::Tests;
use crate::{
    clippy,
    codegen::Permissions,
    compiler::Compiler,
    display, doc_references, fuzz, launchers, module_graph, npm, npm_lock, pack, public_api, python, sbom,
    setup::{self, Purpose},
    sidecar,
    steps::Steps,
    test_summary::Runner,
    third_party_servers,
    tools::{CARGO_CYCLONEDX, CARGO_DENY, LYCHEE, TYPOS},
    untested_targets,
    workspace::{Workspace, cargo, program},
};

/// Runs all steps until one fails.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    Steps::run_all(workspace.target.join("xtask"), |steps| run_steps(workspace, steps))
}

fn run_steps(workspace: &Workspace, steps: &mut Steps) -> Result<()> {
    let sh = workspace.shell_without_colors()?;
    setup::ensure(Purpose::EndToEnd)?;
    // Check the lock file before npm installs from it.
    steps.check("npm lock", || npm_lock::check(workspace))?;
    npm::install(workspace)?;
    steps.run("rustfmt", cmd!(sh, "cargo fmt --all --check -- --color never"))?;
    prose(workspace, &sh, steps)?;
    workflows(workspace, &sh, steps)?;
    steps.run("front end: build", npm::npm(&sh, &["run", "build"]))?;
    // Each one builds the SDK first.
    for example in ["express", "hono"] {
        let build = ["run", "build", "--workspace", &format!("examples/{example}-backend")];
        steps.run(&format!("{example} example: build"), npm::npm(&sh, &build))?;
    }
    let bundle = ["run", "bundle", "--workspace", "crates/tauri-plugin-pillion"];
    steps.run("guest-js: bundle", npm::npm(&sh, &bundle))?;

    let compiler = Compiler::install(workspace)?;
    // The tests of the other languages wait for processes and downloads, half of their time and more; the compiler does not.
    let python = steps
        .beside(|steps| other_languages(workspace, steps), |steps| compile(workspace, steps, &compiler))?;
    let tests = Tests::built(workspace, &sh, steps, &compiler)?;
    let computing = |steps: &mut Steps| compute(workspace, steps, &tests, &compiler);
    let in_rust = |steps: &mut Steps| steps.tests("rust: tests", tests.runner(), tests.all(&sh));
    let examples = |steps: &mut Steps| examples(workspace, steps, &tests, python.as_ref());
    if tests.call_cargo() {
        // Each would wait for the other: Cargo locks the build directory while it compiles.
        computing(steps)?;
        in_rust(steps)?;
        examples(steps)?;
        return end_to_end(workspace, steps, &tests);
    }
    let waiting = |steps: &mut Steps| {
        // The examples wait even more, one test after the other.
        steps.beside(in_rust, examples)?;
        end_to_end(workspace, steps, &tests)
    };
    steps.beside(waiting, computing)
}

/// Tests the examples, the servers of docs/servers.md and what packs programs of other languages, and looks for survivors of killed apps.
fn examples(
    workspace: &Workspace,
    steps: &mut Steps,
    tests: &Tests,
    python: Option<&python::Environment>,
) -> Result<()> {
    let sh = workspace.shell_without_colors()?;
    go_example(&sh, steps, tests)?;
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    // npm downloads Node once, into the target folder.
    steps.tests("pillion package: Node", tests.runner(), tests.named(&sh, PACKAGE, &[PACKAGE_NODE]))?;
    third_party_servers::cheap(&sh, steps, tests, python)?;
    if let Some(python) = python {
        sh.set_var("PILLION_TEST_PYTHON", &python.python);
        steps.tests("fastapi example", tests.runner(), tests.of_example(&sh, "fastapi"))?;
        let page = npm::npm(&sh, &["test", "--", "--project", "examples", "fastapi-backend"]);
        steps.tests("fastapi example: page", Runner::Vitest, page)?;
    }
    steps.tests("pillion check on the examples", tests.runner(), tests.of_example(&sh, "check"))?;
    // The tests have built the soak with the other test programs.
    let soak = workspace.programs(false).join("orphans-soak");
    steps.tests("soak: orphans", Runner::Soak, cmd!(sh, "{soak} --rounds 200"))
}

/// Checks the Rust crates by what needs nothing but the processor, while the tests wait for processes and time limits.
fn compute(workspace: &Workspace, steps: &mut Steps, tests: &Tests, compiler: &Compiler) -> Result<()> {
    let sh = workspace.shell_without_colors()?;
    steps.give_way();
    steps.check("clippy", || {
        clippy::check_is_complete(workspace)?;
        clippy::check(workspace, cfg!(unix))
    })?;
    fuzz::replay(&sh, steps, tests)?;
    let documentation = compiler.documents(cargo(&sh, &["test"]).arg("--doc"));
    steps.tests("rustdoc, and doctests", Runner::Cargo, documentation)?;
    public_api::check(workspace, steps)
}

/// Runs the real app in its webview, and a browser.
fn end_to_end(workspace: &Workspace, steps: &mut Steps, tests: &Tests) -> Result<()> {
    let sh = workspace.shell_without_colors()?;
    let display = Xvfb::start(display::SCREEN)?;
    sh.set_var("DISPLAY", display.name());
    sh.set_var("GDK_BACKEND", "x11");
    sh.set_var("AIOS_APP", workspace.programs(false).join(program("aios")));
    sh.set_var("AIOS_SCREENSHOTS", workspace.target.join("screenshots"));
    steps.tests("end to end", tests.runner(), tests.end_to_end(&sh))
}

/// Checks and tests what is not written in Rust, and installs what later tests use. Returns the environment of the Python SDK, or `None`
/// if its packages cannot be installed.
fn other_languages(workspace: &Workspace, steps: &mut Steps) -> Result<Option<python::Environment>> {
    let sh = workspace.shell_without_colors()?;
    steps.run("front end: check", npm::npm(&sh, &["run", "check"]))?;
    steps.tests("front end: vitest", Runner::Vitest, npm::npm(&sh, &["test"]))?;
    steps.check("packages", || pack::check(workspace).map(drop))?;
    let python = python(workspace, &sh, steps)?;
    supply_chain(workspace, &sh, steps)?;
    if cfg!(target_os = "linux") {
        launchers::install(workspace, &sh, steps);
    }
    Ok(python)
}

/// Compiles the Rust crates, their tests, and the programs that the tests run.
fn compile(workspace: &Workspace, steps: &mut Steps, compiler: &Compiler) -> Result<()> {
    let sh = workspace.shell_without_colors()?;
    let permissions = Permissions::read(workspace)?;
    let compiled = |command| compiler.compiles(command);
    // With `--examples`, Cargo resolves the same features as for the tests, and compiles no example: there is none.
    steps.run("backend", compiled(sidecar::compile(&sh, false, None).arg("--examples")))?;
    sidecar::install(workspace, false, None)?;
    // As both runners build them.
    steps.run("rust: build the tests", compiled(cargo(&sh, &["test"]).arg("--no-run")))?;
    steps.check("permissions: up to date", || permissions.check())?;
    // With `--tests`, Cargo resolves the same features as for the tests and reuses what it compiled for them.
    let programs = PROGRAMS.iter().chain(CHECKED).flat_map(|name| ["--bin", name]);
    let programs = cargo(&sh, &["build"]).args(programs).arg("--tests");
    steps.run("app, and examples in Rust", compiled(programs))
}

/// The programs that the tests run, besides those that Cargo builds for them.
const PROGRAMS: [&str; 5] = ["aios", "fake-app", "screenshot", "minimal-sidecar", "backend"];

/// The programs without tests that nothing else compiles: Clippy checks what was compiled.
const CHECKED: &[&str] = if cfg!(target_os = "linux") {
    &["empty-shell", "pillion", "pillion-guard", "pillion-guard-light", "routes"]
} else {
    &["empty-shell", "pillion", "routes"]
};

/// Checks and tests the Python SDK. Returns its environment, or `None` if the packages cannot be installed.
fn python(workspace: &Workspace, sh: &Shell, steps: &mut Steps) -> Result<Option<python::Environment>> {
    match python::Environment::find_or_install(workspace, sh) {
        Ok(environment) => {
            python::steps(&environment, workspace, sh, steps)?;
            Ok(Some(environment))
        }
        Err(error) => {
            let why = format!("{error:#}");
            for name in ["python: ruff", "python: ruff format", "python: mypy", "python: pytest"]
                .into_iter()
                .chain(["fastapi example", "fastapi example: page"])
            {
                steps.skip(name, &why);
            }
            Ok(None)
        }
    }
}

/// The test program of `pillion package`, and its tests that need npm or Go. Those of all targets run with `cargo xtask template-apps`.
const PACKAGE: &str = "package";
const PACKAGE_NODE: &str = "runtimes::a_node_server_becomes_one_program_that_keeps_the_protocol";
const PACKAGE_GO: &str = "runtimes::a_go_server_becomes_one_program_that_keeps_the_protocol";

/// Checks the workflows of the hosted CI.
fn workflows(workspace: &Workspace, sh: &Shell, steps: &mut Steps) -> Result<()> {
    let mut files = sh.read_dir(workspace.root.join(".github/workflows"))?;
    files.sort();
    steps.run("workflows", cmd!(sh, "node xtask/check-workflows.mjs {files...}"))
}

/// Checks the spelling of all files, and the links and references of the Markdown files.
fn prose(workspace: &Workspace, sh: &Shell, steps: &mut Steps) -> Result<()> {
    match TYPOS.find_or_install(workspace, sh) {
        Ok(typos) => steps.run("typos", cmd!(sh, "{typos} --format brief"))?,
        Err(error) => steps.skip("typos", &format!("{error:#}")),
    }
    match LYCHEE.find_or_install(workspace, sh) {
        Ok(lychee) => {
            let files = doc_references::markdown_files(sh)?;
            // Offline: addresses of other sites are not requested.
            let options = ["--offline", "--include-fragments", "--no-progress"];
            steps.run("links", cmd!(sh, "{lychee} {options...} {files...}"))?;
        }
        Err(error) => steps.skip("links", &format!("{error:#}")),
    }
    steps.check("references to source", || doc_references::check(workspace))?;
    steps.check("modules", || module_graph::check(workspace))?;
    steps.check("targets without tests", || untested_targets::check(workspace))
}

/// Checks and tests the example in Go, where Go is installed or can be.
fn go_example(sh: &Shell, steps: &mut Steps, tests: &Tests) -> Result<()> {
    if !cfg!(target_os = "linux") {
        steps.skip("go example", "its tests run on Linux");
        return Ok(());
    }
    if let Err(error) = setup::ensure_only(setup::GO) {
        steps.skip("go example", &format!("{error:#}"));
        return Ok(());
    }
    let folder = sh.push_dir("examples/go-backend");
    steps.run("go example: vet", cmd!(sh, "go vet ./..."))?;
    steps.run("go example: test", cmd!(sh, "go test ./..."))?;
    drop(folder);
    steps.tests("go example", tests.runner(), tests.of_example(sh, "go"))?;
    steps.tests("pillion package: Go", tests.runner(), tests.named(sh, PACKAGE, &[PACKAGE_GO]))
}

/// Writes the SBOMs and, where cargo-deny is installed, checks licences, sources and known vulnerabilities.
fn supply_chain(workspace: &Workspace, sh: &Shell, steps: &mut Steps) -> Result<()> {
    let folder = workspace.target.join("xtask/sbom");
    steps.check("sbom: front end", || sbom::front_end(workspace, &folder))?;
    if CARGO_CYCLONEDX.find(workspace).is_some() {
        steps.check("sbom: programs", || sbom::programs(workspace, None, &folder))?;
    } else {
        steps.skip("sbom: programs", "needs cargo-cyclonedx; `cargo xtask sbom` installs it");
    }
    let Some(deny) = CARGO_DENY.find(workspace) else {
        steps.skip("cargo deny", "needs `cargo install cargo-deny`");
        return Ok(());
    };
    steps.run("cargo deny", cmd!(sh, "{deny} --offline check bans licenses sources"))?;
    if has_advisory_database() {
        steps.run("cargo deny: advisories", cmd!(sh, "{deny} --offline check advisories"))?;
    } else {
        steps.skip("cargo deny: advisories", "no local advisory database; `cargo deny fetch db` gets one");
    }
    Ok(())
}

/// Returns whether cargo-deny has a local copy of an advisory database. Each copy is a Git clone in this folder; the folder
/// itself can exist without one: <https://embarkstudios.github.io/cargo-deny/checks/advisories/cfg.html>.
fn has_advisory_database() -> bool {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let copies = home.and_then(|home| home.join("advisory-dbs").read_dir().ok());
    copies.into_iter().flatten().flatten().any(|copy| copy.path().join(".git").exists())
}
