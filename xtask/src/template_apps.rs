//! `cargo xtask template-apps`: makes apps as an adopter does, from Tauri's own templates and the packages that would be published, and
//! opens their windows.
//!
//! Each app comes from `pillion new`, which runs `create-tauri-app` and then does what `pillion init` does. Nothing in it refers to
//! this repository, except that the packages, which are not in the registries yet, come from `cargo xtask pack`.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
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
    test::Tests,
    workspace::{Workspace, on_path, program},
};

/// The apps: template, package manager and backend of `pillion new`. Each template with each package manager has the backend whose
/// build is the cheapest.
const APPS: [(&str, &str, Backend); 8] = [
    ("react", "npm", Backend::Rust),
    ("react", "pnpm", Backend::Rust),
    ("svelte", "npm", Backend::Rust),
    ("svelte", "pnpm", Backend::Rust),
    ("vanilla", "npm", Backend::Rust),
    ("vanilla", "pnpm", Backend::Rust),
    ("react", "npm", Backend::Node),
    ("vanilla", "npm", Backend::Python),
];
/// The package manager that is not part of Node. The version is exact, because another one may lay packages out differently.
const PNPM: &str = "pnpm@10.34.8";

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

/// Makes, builds and opens the apps that these names select, or parts of names; all without one.
pub(crate) fn run(workspace: &Workspace, names: &[String]) -> Result<ExitCode> {
    if !cfg!(target_os = "linux") {
        bail!("these tests run on Linux only");
    }
    Steps::run_all(workspace.target.join("xtask-template-apps"), |steps| run_steps(workspace, steps, names))
}

/// Whether a word selects a name of these: it is the name, or a part of it unless it is another one. So `react-npm` does not select
/// `react-npm-node`.
fn selects(word: &str, name: &str, names: &[&str]) -> bool {
    if names.contains(&word) { word == name } else { name.contains(word) }
}

fn run_steps(workspace: &Workspace, steps: &mut Steps, words: &[String]) -> Result<()> {
    let folder = workspace.target.join("template-apps");
    let apps: Vec<_> = APPS
        .into_iter()
        .map(|(template, manager, backend)| Adopter {
            workspace,
            folder: &folder,
            name: backend.app(template, manager),
            template,
            manager,
            backend,
        })
        .collect();
    let names: Vec<_> = apps.iter().map(|app| app.name.as_str()).chain([PACKAGE]).collect();
    if let Some(word) = words.iter().find(|word| !names.iter().any(|name| selects(word, name, &names))) {
        bail!("nothing is called {word:?}: the names are {}", names.join(", "));
    }
    let selected = |name: &str| words.is_empty() || words.iter().any(|word| selects(word, name, &names));
    setup::ensure(Purpose::EndToEnd)?;
    npm::install(workspace)?;
    let sh = workspace.shell_without_colors()?;
    steps.check("packages", || {
        pack::run(workspace).and_then(|files| unpack(&sh, &files, &folder.join("packages")))
    })?;
    steps.run("pillion", cmd!(sh, "cargo build --package pillion-cli"))?;
    if selected(PACKAGE) {
        // The example of the tests uses the built SDK.
        let build = ["run", "build", "--workspace", "examples/hono-backend"];
        steps.run("hono example: build", npm::npm(&sh, &build))?;
        let tests = Tests::available();
        steps.tests(PACKAGE, tests.runner(), tests.named(&sh, "package", &PACKAGE_TESTS))?;
    }
    if apps.iter().any(|app| selected(&app.name)) {
        let display = Xvfb::start(display::SCREEN)?;
        sh.set_var("DISPLAY", display.name());
        sh.set_var("GDK_BACKEND", "x11");
        for app in apps.iter().filter(|app| selected(&app.name)) {
            app.run(&sh, steps)?;
        }
    }
    Ok(())
}

/// The folder of the apps. Another worktree has another one, so that both can run at a time.
fn apps(root: &Path) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    root.hash(&mut hasher);
    env::temp_dir().join(format!("pillion-template-apps-{:016x}", hasher.finish()))
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
    let others = ["tgz", "whl"];
    for file in files.iter().filter(|file| others.iter().any(|it| file.extension().is_some_and(|e| e == *it)))
    {
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

/// The language of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    Rust,
    Node,
    Python,
}

impl Backend {
    /// The name in the options of `pillion new`.
    fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Node => "node",
            Self::Python => "python",
        }
    }

    /// What the backend of `pillion new` answers.
    fn answer(self) -> &'static str {
        match self {
            Self::Rust => "Hello from Rust",
            Self::Node => "Hello from Node",
            Self::Python => "Hello from Python",
        }
    }

    /// The name of an app with this backend.
    fn app(self, template: &str, manager: &str) -> String {
        match self {
            Self::Rust => format!("{template}-{manager}"),
            Self::Node | Self::Python => format!("{template}-{manager}-{}", self.name()),
        }
    }
}

/// An app to make.
struct Adopter<'a> {
    workspace: &'a Workspace,
    folder: &'a Path,
    name: String,
    template: &'a str,
    manager: &'a str,
    backend: Backend,
}

impl Adopter<'_> {
    fn run(&self, sh: &Shell, steps: &mut Steps) -> Result<()> {
        let Self { ref name, template, manager, backend, .. } = *self;
        // Outside of this repository, whose workspaces would take an app for a part of them.
        let apps = apps(&self.workspace.root);
        let app = apps.join(name);
        fs::create_dir_all(&apps)?;
        if app.exists() {
            fs::remove_dir_all(&app)?;
        }
        let pillion = self.workspace.programs(false).join(program("pillion"));
        let _apps = sh.push_dir(&apps);
        let options = ["--template", template, "--backend", backend.name(), "--manager", manager];
        steps.run(&format!("{name}: pillion new"), cmd!(sh, "{pillion} new {name} {options...}"))?;
        let _app = sh.push_dir(&app);
        let again = cmd!(sh, "{pillion} init --json --dry-run");
        steps.check(&format!("{name}: a second init"), || changes_nothing(&again.quiet().read()?))?;
        steps.check(&format!("{name}: packages of this tree"), || self.use_packages(&app))?;
        steps.run(&format!("{name}: install"), self.manage(sh, &["install"]))?;
        self.install_backend(sh, steps, &app)?;
        // One folder for all apps: Cargo compiles Tauri once.
        let _target = sh.push_env("CARGO_TARGET_DIR", self.folder.join("target"));
        steps.run(&format!("{name}: pillion package"), cmd!(sh, "{pillion} package"))?;
        // npm takes options behind the separator only; pnpm would pass the separator on.
        let run: &[&str] = if manager == "npm" { &["run", "tauri", "--"] } else { &["run", "tauri"] };
        let build = [run, &["build", "--debug", "--no-bundle"]].concat();
        steps.run(&format!("{name}: tauri build"), self.manage(sh, &build))?;
        steps.run(&format!("{name}: pillion doctor"), cmd!(sh, "{pillion} doctor"))?;
        let screenshots = self.workspace.target.join("screenshots");
        fs::create_dir_all(&screenshots)?;
        let _variables = [
            sh.push_env("ADOPTER_APP", self.folder.join("target/debug").join(program(name))),
            sh.push_env("ADOPTER_ANSWER", backend.answer()),
            sh.push_env("ADOPTER_SCREENSHOT", screenshots.join(format!("adopter-{name}.png"))),
        ];
        drop(_target);
        let root = sh.push_dir(&self.workspace.root);
        let tests = Tests::available();
        steps.tests(
            &format!("{name}: window"),
            tests.runner(),
            tests.named(sh, TEST, &["window_is_green"]),
        )?;
        drop(root);
        // The libraries and the program of an app are 1.5 GB.
        let _tauri = sh.push_dir("src-tauri");
        let clean = cmd!(sh, "cargo clean --quiet --package {name}");
        steps.run(&format!("{name}: clean"), clean.env("CARGO_TARGET_DIR", self.folder.join("target")))
    }

    /// Installs the packages of the backend, as its developer does.
    fn install_backend(&self, sh: &Shell, steps: &mut Steps, app: &Path) -> Result<()> {
        let _backend = sh.push_dir(app.join("backend"));
        let name = format!("{}: install the backend", self.name);
        match self.backend {
            Backend::Rust => Ok(()),
            Backend::Node => steps.run(&name, npm::npm(sh, &["install"])),
            Backend::Python => {
                let python = ["python3", "python"].into_iter().find_map(on_path);
                let python = python.context("Python is not installed")?;
                steps.run(
                    &format!("{}: virtual environment", self.name),
                    cmd!(sh, "{python} -m venv .venv"),
                )?;
                let requirements = ["-r", "requirements.txt", "pyinstaller"];
                steps.run(&name, cmd!(sh, ".venv/bin/python -m pip install --quiet {requirements...}"))
            }
        }
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
        let of_backend = (self.backend == Backend::Rust).then_some("backend/Cargo.toml");
        for manifest in ["src-tauri/Cargo.toml"].into_iter().chain(of_backend) {
            replace(&app.join(manifest), |text| Ok(text + &patch))?;
        }
        use_tarball(&app.join("package.json"), "tauri-plugin-pillion-api", &packages)?;
        match self.backend {
            Backend::Rust => Ok(()),
            Backend::Node => use_tarball(&app.join("backend/package.json"), "pillion", &packages),
            Backend::Python => replace(&app.join("backend/requirements.txt"), |text| {
                let wheel = file_ending_with(&packages, ".whl")?;
                let lines = text.lines().map(|line| match line.strip_prefix("pillion[uvicorn]") {
                    Some(_) => format!("pillion[uvicorn] @ file://{}\n", wheel.display()),
                    None => format!("{line}\n"),
                });
                Ok(lines.collect())
            }),
        }
    }

    /// A command of the package manager.
    fn manage<'sh>(&self, sh: &'sh Shell, arguments: &[&str]) -> xshell::Cmd<'sh> {
        match self.manager {
            "pnpm" => cmd!(sh, "npx --yes {PNPM}").args(arguments),
            _ => npm::npm(sh, arguments),
        }
    }
}

fn replace(file: &Path, change: impl FnOnce(String) -> Result<String>) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    fs::write(file, change(text)?).with_context(|| format!("cannot write {}", file.display()))
}

/// Lets a `package.json` take a dependency from its tarball. Without the dependency, it stays: a page without a bundler imports no
/// package.
fn use_tarball(file: &Path, name: &str, packages: &Path) -> Result<()> {
    replace(file, |text| {
        let mut package: Value = serde_json::from_str(&text)?;
        let Some(requirement) = package["dependencies"].get_mut(name) else { return Ok(text) };
        let version = requirement.as_str().context("a dependency has no version")?.trim_start_matches('^');
        let tarball = packages.join(format!("{name}-{version}.tgz"));
        *requirement = json!(format!("file:{}", tarball.display()));
        Ok(serde_json::to_string_pretty(&package)?)
    })
}

fn file_ending_with(folder: &Path, ending: &str) -> Result<PathBuf> {
    let mut files = fs::read_dir(folder)?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    files
        .find(|file| file.to_string_lossy().ends_with(ending))
        .with_context(|| format!("{} has no file *{ending}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{apps, selects};

    #[test]
    fn each_worktree_has_its_own_folder() {
        assert_eq!(apps(Path::new("/a")), apps(Path::new("/a")));
        assert_ne!(apps(Path::new("/a")), apps(Path::new("/b")));
    }

    #[test]
    fn a_whole_name_selects_itself_alone() {
        let names = ["react-npm", "react-npm-node", "vanilla-npm"];
        let selected =
            |word| names.into_iter().filter(|name| selects(word, name, &names)).collect::<Vec<_>>();
        assert_eq!(selected("react-npm"), ["react-npm"]);
        assert_eq!(selected("react"), ["react-npm", "react-npm-node"]);
        assert_eq!(selected("node"), ["react-npm-node"]);
        assert_eq!(selected("vue"), [""; 0]);
    }
}
