//! `cargo xtask third-party-servers`: runs servers that know nothing of Pillion as docs/servers.md declares them, and the SDK for Node under
//! other runtimes. It installs what is missing. `cargo xtask test` runs the cheap ones, with what is installed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::{
    npm, python,
    setup::{self, GO, Presence, Purpose, Requirement},
    steps::Steps,
    test::Tests,
    test_summary::Runner,
    workspace::{Workspace, on_path, program},
};

/// The program that runs all tests of this task.
const TEST: &str = "servers";
/// What this task installs into the target folder from the npm registry. The versions of Next.js are in its package.json.
const RUNTIMES: [&str; 2] = ["bun@1.4.5", "deno@2.9.6"];

const REDIS: Requirement = Requirement {
    why: "a server that the tests supervise",
    presence: Presence::Program("redis-server"),
    apt: "redis-server",
    dnf: "redis",
    pacman: "redis",
};
const POSTGRES: Requirement = Requirement {
    why: "a server that the tests supervise",
    presence: Presence::Check(|| postgres_folder().is_some()),
    apt: "postgresql",
    dnf: "postgresql-server",
    pacman: "postgresql",
};
const JDK: Requirement = Requirement {
    why: "builds and runs a server that the tests supervise",
    presence: Presence::Program("javac"),
    apt: "default-jdk-headless",
    dnf: "java-devel",
    pacman: "jdk-openjdk",
};

/// Runs all servers and runtimes. One that cannot be installed is skipped, and the output says why.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    if !cfg!(target_os = "linux") {
        bail!("these tests run on Linux only");
    }
    setup::ensure(Purpose::Build)?;
    npm::install(workspace)?;
    Steps::run_all(workspace.target.join("xtask-third-party-servers"), |steps| run_steps(workspace, steps))
}

fn run_steps(workspace: &Workspace, steps: &mut Steps) -> Result<()> {
    let sh = workspace.shell_without_colors()?;
    let mut servers = Servers::new();
    let python = python::Environment::find_or_install(workspace, &sh);
    servers.add(steps, &["http_server", "uvicorn", "gunicorn"], python.map(|found| Some(found.programs())));
    servers.add(steps, &["vite_preview"], Ok(None));
    let next = next(workspace, &sh, steps).map(|built| {
        sh.set_var("THIRD_PARTY_NEXT", built);
        None
    });
    servers.add(steps, &["next"], next);
    for (tests, requirement, folder) in [
        (["go"].as_slice(), GO, None),
        (&["java"], JDK, None),
        (&["redis"], REDIS, None),
        (&["postgres", "postgres_on_a_socket"], POSTGRES, Some(postgres_folder as fn() -> _)),
    ] {
        let found = setup::ensure_only(requirement).map(|()| folder.and_then(|folder| folder()));
        servers.add(steps, tests, found);
    }
    servers.run(&sh, steps, &Tests::available(), "servers")?;
    runtimes(workspace, &sh, steps)
}

/// The servers for `cargo xtask test`: those that start within seconds, with what is installed already.
pub(crate) fn cheap(
    sh: &Shell,
    steps: &mut Steps,
    tests: &Tests,
    python: Option<&python::Environment>,
) -> Result<()> {
    let mut servers = Servers::new();
    let python = python.map(|found| Some(found.programs())).context("needs the packages of the Python SDK");
    servers.add(steps, &["http_server", "uvicorn", "gunicorn"], python);
    servers.add(steps, &["vite_preview"], Ok(None));
    let redis = on_path("redis-server")
        .map(|_| None)
        .context("needs Redis: `cargo xtask third-party-servers` installs it");
    servers.add(steps, &["redis"], redis);
    servers.run(sh, steps, tests, "servers of docs/servers.md")
}

/// The servers that can run.
struct Servers {
    tests: Vec<&'static str>,
    /// The folders of their programs, besides those on the `PATH`.
    folders: Vec<PathBuf>,
}

impl Servers {
    fn new() -> Self {
        Self { tests: Vec::new(), folders: Vec::new() }
    }

    /// Adds these tests, with the folder of their programs, or prints why they are skipped.
    fn add(&mut self, steps: &mut Steps, tests: &[&'static str], found: Result<Option<PathBuf>>) {
        match found {
            Ok(folder) => {
                self.tests.extend(tests);
                self.folders.extend(folder);
            }
            Err(error) => tests.iter().for_each(|test| steps.skip(test, &format!("{error:#}"))),
        }
    }

    fn run(self, sh: &Shell, steps: &mut Steps, tests: &Tests, name: &str) -> Result<()> {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(self.folders.into_iter().chain(env::split_paths(&path)))
            .context("a folder on the PATH contains a colon")?;
        steps.tests(name, tests.runner(), tests.named(sh, TEST, &self.tests).env("PATH", path))
    }
}

/// The folder of the programs of `PostgreSQL`. Debian keeps them off the `PATH`, one folder for each version.
fn postgres_folder() -> Option<PathBuf> {
    if let (Some(server), Some(_)) = (on_path("postgres"), on_path("initdb")) {
        return server.parent().map(Path::to_owned);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    folders.filter(|folder| folder.join("initdb").is_file()).max()
}

/// Builds the Next.js app, if its sources have changed. Returns the folder of its server.
fn next(workspace: &Workspace, sh: &Shell, steps: &mut Steps) -> Result<PathBuf> {
    let source = workspace.root.join("crates/third-party-servers/servers/next");
    let folder = workspace.target.join("third-party-servers/next");
    let built = folder.join(".next/standalone");
    let files = ["package.json", "next.config.mjs", "app/layout.jsx", "app/page.jsx"];
    let mut sources = String::new();
    for file in files {
        let path = source.join(file);
        sources += &fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let stamp = folder.join("built-from");
    if built.join("server.js").is_file() && fs::read_to_string(&stamp).is_ok_and(|built| built == sources) {
        return Ok(built);
    }
    for file in files {
        let to = folder.join(file);
        fs::create_dir_all(to.parent().unwrap_or(&folder))?;
        fs::copy(source.join(file), to)?;
    }
    let _folder = sh.push_dir(&folder);
    let _telemetry = sh.push_env("NEXT_TELEMETRY_DISABLED", "1");
    let options = ["install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"];
    quiet(npm::npm(sh, &options))?;
    steps.run("next build", cmd!(sh, "node node_modules/next/dist/bin/next build"))?;
    let copies = built.join(".next/static");
    fs::create_dir_all(&copies)?;
    quiet(cmd!(sh, "cp -r .next/static/. {copies}"))?;
    fs::write(stamp, sources)?;
    Ok(built)
}

/// Runs the tests of the SDK for Node with servers that run under Bun and Deno.
fn runtimes(workspace: &Workspace, sh: &Shell, steps: &mut Steps) -> Result<()> {
    let folder = workspace.target.join("tools/runtimes");
    fs::create_dir_all(&folder)?;
    let options = ["install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--prefix"];
    let installed = quiet(npm::npm(sh, &options).arg(&folder).args(RUNTIMES));
    for (name, scope, file, arguments) in
        [("bun", "@oven", "bin/bun", ""), ("deno", "@deno", "deno", " run -A")]
    {
        let name = format!("node SDK under {name}");
        if let Err(error) = &installed {
            steps.skip(&name, &format!("{error:#}"));
            continue;
        }
        // The package of this machine's platform. Without its install script, that of the runtime itself has no program.
        let packages = fs::read_dir(folder.join("node_modules").join(scope)).into_iter().flatten().flatten();
        let Some(found) =
            packages.map(|package| package.path().join(program(file))).find(|file| file.is_file())
        else {
            steps.skip(&name, "its npm package has no program for this platform");
            continue;
        };
        let _runtime = sh.push_env("SDK_RUNTIME", format!("{}{arguments}", found.display()));
        steps.tests(&name, Runner::Vitest, npm::npm(sh, &["test", "--", "--project", "sdk-node"]))?;
    }
    Ok(())
}

fn quiet(command: xshell::Cmd<'_>) -> Result<()> {
    let words = command.to_string();
    command.quiet().ignore_stdout().ignore_stderr().run().with_context(|| format!("`{words}` failed"))
}
