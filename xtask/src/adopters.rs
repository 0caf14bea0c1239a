//! `cargo xtask adopters`: makes apps as an adopter does, from Tauri's own templates and the packages that would be published, and
//! opens their windows.
//!
//! Each app comes from `pillion new`, which runs `create-tauri-app` and then does what `pillion init` does. Nothing in it refers to
//! this repository, except that the packages, which are not in the registries yet, come from `cargo xtask pack`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use virtual_display::Xvfb;
use xshell::{Shell, cmd};

use crate::{
    display, npm, pack,
    setup::{self, Purpose},
    steps::Steps,
    test::{Tests, tauri_driver},
    workspace::{Workspace, program},
};

/// The templates of `pillion new`.
const TEMPLATES: [&str; 3] = ["react", "svelte", "vanilla"];
const MANAGERS: [&str; 2] = ["npm", "pnpm"];
/// The package manager that is not part of Node. The version is exact, because another one may lay packages out differently.
const PNPM: &str = "pnpm@10.34.8";
/// The backend of each app: its build needs no runtime to download, and starts at once.
const BACKEND: &str = "rust";

/// The program of `crates/end-to-end-tests` that opens the window.
const TEST: &str = "adopter";

/// The name of the step that runs `pillion package` for each runtime and target, and its tests.
const PACKAGE: &str = "package-targets";
const PACKAGE_TESTS: [&str; 6] = [
    "targets::node_is_packed_for_every_target",
    "targets::node_26_packs_itself",
    "targets::bun_is_packed_for_every_target",
    "targets::go_is_built_for_every_target",
    "targets::python_is_packed_into_one_file",
    "targets::python_is_packed_into_a_folder_of_the_resources",
];

/// Makes, builds and opens each app whose name contains `only`, such as `react-npm`; all without it.
pub(crate) fn run(workspace: &Workspace, only: Option<&str>) -> Result<ExitCode> {
    if !cfg!(target_os = "linux") {
        bail!("these tests run on Linux only");
    }
    Steps::run_all(workspace.target.join("xtask-adopters"), |steps| {
        run_steps(workspace, steps, only.unwrap_or(""))
    })
}

fn run_steps(workspace: &Workspace, steps: &mut Steps, only: &str) -> Result<()> {
    setup::ensure(Purpose::EndToEnd)?;
    npm::install(workspace)?;
    let sh = workspace.shell_without_colors()?;
    let folder = workspace.target.join("adopters");
    steps.check("packages", || {
        pack::run(workspace).and_then(|files| unpack(&sh, &files, &folder.join("packages")))
    })?;
    steps.run("pillion", cmd!(sh, "cargo build --package pillion-cli"))?;
    let mut made = 0;
    if PACKAGE.contains(only) {
        made += 1;
        // The example of the tests uses the built SDK.
        let build = ["run", "build", "--workspace", "examples/hono-backend"];
        steps.run("hono example: build", npm::npm(&sh, &build))?;
        let tests = Tests::available();
        steps.tests(PACKAGE, tests.runner(), tests.named(&sh, "package", &PACKAGE_TESTS))?;
    }
    let driver = tauri_driver(workspace, &sh, steps)?;
    let display = Xvfb::start(display::SCREEN)?;
    sh.set_var("DISPLAY", display.name());
    sh.set_var("GDK_BACKEND", "x11");
    sh.set_var("TAURI_DRIVER", driver);
    for template in TEMPLATES {
        for manager in MANAGERS {
            let name = format!("{template}-{manager}");
            if name.contains(only) {
                made += 1;
                Adopter { workspace, folder: &folder, name: &name, template, manager }.run(&sh, steps)?;
            }
        }
    }
    if made == 0 {
        bail!("no app is called {only:?}: the names are TEMPLATE-MANAGER, such as react-npm, and {PACKAGE}");
    }
    Ok(())
}

/// Unpacks the packages of crates, and removes what an earlier run has left. Each lies in a folder of its name, without a version.
fn unpack(sh: &Shell, files: &[PathBuf], folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "crate")) {
        cmd!(sh, "tar --extract --gzip --file {file} --directory {folder}").quiet().run()?;
    }
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "tgz")) {
        fs::copy(file, folder.join(file.file_name().context("a package has no name")?))?;
    }
    Ok(())
}

/// Fails if the output of `pillion init --json` lists a change.
fn changes_nothing(report: &str) -> Result<()> {
    let report: Value =
        serde_json::from_str(report).context("the output of `pillion init --json` is not JSON")?;
    let changes =
        report["changes"].as_array().context("the output of `pillion init --json` has no list `changes`")?;
    if !changes.is_empty() {
        let diffs: Vec<_> = changes.iter().filter_map(|change| change["diff"].as_str()).collect();
        bail!("a second `pillion init` changes {} files:\n{}", changes.len(), diffs.join("\n"));
    }
    Ok(())
}

/// An app to make.
struct Adopter<'a> {
    workspace: &'a Workspace,
    folder: &'a Path,
    name: &'a str,
    template: &'a str,
    manager: &'a str,
}

impl Adopter<'_> {
    fn run(&self, sh: &Shell, steps: &mut Steps) -> Result<()> {
        let Self { name, template, manager, .. } = *self;
        let apps = self.folder.join("apps");
        let app = apps.join(name);
        fs::create_dir_all(&apps)?;
        if app.exists() {
            fs::remove_dir_all(&app)?;
        }
        let pillion = self.workspace.programs(false).join(program("pillion"));
        let _apps = sh.push_dir(&apps);
        let options = ["--template", template, "--backend", BACKEND, "--manager", manager];
        steps.run(&format!("{name}: pillion new"), cmd!(sh, "{pillion} new {name} {options...}"))?;
        let _app = sh.push_dir(&app);
        let again = cmd!(sh, "{pillion} init --json --dry-run");
        steps.check(&format!("{name}: a second init"), || changes_nothing(&again.read()?))?;
        steps.check(&format!("{name}: packages of this tree"), || self.use_packages(&app))?;
        steps.run(&format!("{name}: install"), self.manage(sh, &["install"]))?;
        // One folder for all apps: Cargo compiles Tauri once.
        let _target = sh.push_env("CARGO_TARGET_DIR", self.folder.join("target"));
        steps.run(&format!("{name}: pillion package"), cmd!(sh, "{pillion} package"))?;
        // npm takes options behind the separator only; pnpm would pass the separator on.
        let run: &[&str] = if manager == "npm" { &["run", "tauri", "--"] } else { &["run", "tauri"] };
        let build = [run, &["build", "--debug", "--no-bundle"]].concat();
        steps.run(&format!("{name}: tauri build"), self.manage(sh, &build))?;
        let built = self.folder.join("target/debug").join(program(name));
        let _built = sh.push_env("ADOPTER_APP", built);
        let _root = sh.push_dir(&self.workspace.root);
        let tests = Tests::available();
        steps.tests(&format!("{name}: window"), tests.runner(), tests.named(sh, TEST, &["window_is_green"]))
    }

    /// Lets the app use the packages of this tree instead of those in the registries.
    fn use_packages(&self, app: &Path) -> Result<()> {
        let packages = self.folder.join("packages");
        let mut patch = String::from("\n[patch.crates-io]\n");
        for entry in fs::read_dir(&packages)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some((name, _)) = name.rsplit_once('-').filter(|_| path.is_dir()) {
                patch += &format!("{name} = {{ path = {:?} }}\n", path.display().to_string());
            }
        }
        for manifest in ["src-tauri/Cargo.toml", "backend/Cargo.toml"] {
            let path = app.join(manifest);
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            fs::write(&path, text + &patch)?;
        }
        let path = app.join("package.json");
        let mut package: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let client = &mut package["dependencies"]["tauri-plugin-pillion-api"];
        // A page without a bundler imports no package.
        let Some(version) = client.as_str() else { return Ok(()) };
        let file = packages.join(format!("tauri-plugin-pillion-api-{}.tgz", version.trim_start_matches('^')));
        *client = json!(format!("file:{}", file.display()));
        fs::write(&path, serde_json::to_string_pretty(&package)?)?;
        Ok(())
    }

    /// A command of the package manager.
    fn manage<'sh>(&self, sh: &'sh Shell, arguments: &[&str]) -> xshell::Cmd<'sh> {
        match self.manager {
            "pnpm" => cmd!(sh, "npx --yes {PNPM}").args(arguments),
            _ => npm::npm(sh, arguments),
        }
    }
}
