//! What a workflow depends on, as the project says it.

use std::path::{Path, PathBuf};

use pillion::Listen;
use pillion_config::Config;
use serde_json::Value;

use super::targets::Runner;
use crate::project::{
    Document, FrontEnd, MergedConfig, PackageManager, Platform, Project, SidecarProgram, last_part,
};

/// What the workflow depends on.
#[derive(Debug)]
pub(super) struct Workflow {
    pub(super) runners: Vec<Runner>,
    pub(super) branch: String,
    /// The folder of the project in the repository, with slashes; empty for the repository itself.
    pub(super) folder: String,
    /// The folder of the Tauri configuration in the project.
    pub(super) tauri: String,
    /// The folder of what Cargo builds, in the repository.
    pub(super) target: String,
    /// The package manager of the page, if it has a package.
    pub(super) manager: Option<PackageManager>,
    /// Whether that brings Tauri's command. Else Cargo installs it.
    pub(super) brings_tauri: bool,
    /// The folder of the page's package in the project.
    pub(super) page: String,
    /// How pnpm is set up, if the page or a backend is installed by it.
    pub(super) pnpm: Option<Pnpm>,
    pub(super) app_image: AppImage,
    /// The git URL of the command `pillion`.
    pub(super) source: Option<String>,
    pub(super) toolchains: Vec<Toolchain>,
    /// The commands that install the packages of the backends, with their folders in the project.
    pub(super) installs: Vec<(String, String)>,
    /// The options of `pillion check` and the entry of `bundle.externalBin`, for each sidecar that claims the protocol.
    pub(super) checks: Vec<Check>,
    /// Whether the app is updated by tauri-plugin-updater.
    pub(super) updater: bool,
}

#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) entry: String,
    pub(super) private: bool,
}

/// What happens to the AppImage, whose tool strips each program: programs of Node, Bun and Deno lose their data.
#[derive(Debug)]
pub(super) enum AppImage {
    /// No sidecar is such a program, or no AppImage is made.
    Usual,
    /// These bundles for Linux are made without it.
    LeftOut(String),
    /// The updater replaces an AppImage, so that the app needs one: its tool is told not to strip.
    Unstripped,
}

/// Where pnpm/action-setup finds the version. It refuses one besides that of `packageManager`, and needs one without it.
#[derive(Debug)]
pub(super) enum Pnpm {
    /// The `package.json` with `packageManager`, in the repository.
    File(String),
    Latest,
}

/// The toolchain of a backend, which the machines of GitHub lack or have in any version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Toolchain {
    Bun,
    Go,
    Node,
    /// After Node, because npm installs it.
    Deno,
    Python,
}

impl Workflow {
    /// Reads the project.
    ///
    /// # Errors
    ///
    /// The configuration is invalid.
    pub(super) fn of(
        project: &Project,
        repository: &Path,
        runners: Vec<Runner>,
        branch: String,
        source: Option<String>,
    ) -> Result<Self, String> {
        let config = project.config.on(Platform::host());
        let cargo = project.manifest.workspace.as_ref().unwrap_or(&project.manifest.document);
        let manager = project.front_end.as_ref().map(|front_end| front_end.manager);
        let mut toolchains: Vec<_> = toolchains(&config);
        match manager {
            Some(PackageManager::Bun) => toolchains.extend([Toolchain::Node, Toolchain::Bun]),
            Some(PackageManager::Deno) => toolchains.extend([Toolchain::Node, Toolchain::Deno]),
            Some(_) => toolchains.push(Toolchain::Node),
            None => {}
        }
        let installs = installs(project, &config);
        if installs.iter().any(|(_, command)| command.starts_with("bun ")) {
            toolchains.push(Toolchain::Bun);
        }
        toolchains.sort();
        toolchains.dedup();
        let page = project.front_end.as_ref().map(FrontEnd::folder);
        let with_pnpm =
            page.filter(|_| manager == Some(PackageManager::Pnpm)).map(Path::to_owned).or_else(|| {
                let backend = installs.iter().find(|(_, command)| command.starts_with("pnpm "));
                backend.map(|(folder, _)| project.root.join(folder))
            });
        Ok(Self {
            runners,
            branch,
            folder: relative(&project.root, repository),
            tauri: relative(&project.tauri, &project.root),
            target: relative(&cargo.path.with_file_name("target"), repository),
            manager,
            brings_tauri: project.front_end.as_ref().is_some_and(|page| page.brings_tauri(&project.root)),
            page: page.map(|page| relative(page, &project.root)).unwrap_or_default(),
            pnpm: with_pnpm.map(|folder| pnpm(&folder, repository)),
            app_image: app_image(&project.config.on(Platform::Linux)),
            source,
            toolchains,
            installs,
            checks: checks(&config)?,
            updater: config.creates_updates(),
        })
    }
}

/// A path below a folder, with slashes.
fn relative(path: &Path, folder: &Path) -> String {
    let inside = path.strip_prefix(folder).unwrap_or(Path::new(""));
    inside.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The version of pnpm: that of the next `package.json` that names one, from this folder up to the repository.
fn pnpm(folder: &Path, repository: &Path) -> Pnpm {
    let names_version = |file: &PathBuf| {
        let package = Document::read_if_exists(file).ok().flatten();
        package.is_some_and(|it| {
            it.get(&["packageManager"]).and_then(Value::as_str).is_some_and(|it| it.starts_with("pnpm@"))
        })
    };
    let folders = folder.ancestors().take_while(|folder| folder.starts_with(repository));
    let file = folders.map(|folder| folder.join("package.json")).find(names_version);
    file.map_or(Pnpm::Latest, |file| Pnpm::File(relative(&file, repository)))
}

fn app_image(config: &MergedConfig<'_>) -> AppImage {
    let sidecars = config.sidecars().ok().flatten().unwrap_or_default();
    let breaks = sidecars.iter().any(|sidecar| {
        matches!(sidecar.program, SidecarProgram::External { entry: Some(_), .. })
            && toolchains_of(&sidecar.fields)
                .any(|it| matches!(it, Toolchain::Bun | Toolchain::Deno | Toolchain::Node))
    });
    match config.bundles_without_app_image().filter(|_| breaks) {
        None => AppImage::Usual,
        Some(_) if config.creates_updates() => AppImage::Unstripped,
        Some(left) => AppImage::LeftOut(left.join(",")),
    }
}

/// The toolchains that `package` or `dev` of the declarations name.
fn toolchains(config: &MergedConfig<'_>) -> Vec<Toolchain> {
    let sidecars = config.sidecars().ok().flatten().unwrap_or_default();
    sidecars.iter().flat_map(|sidecar| toolchains_of(&sidecar.fields)).collect()
}

fn toolchains_of(fields: &serde_json::Map<String, Value>) -> impl Iterator<Item = Toolchain> {
    let package = |fields: &serde_json::Map<String, Value>, tool: &str| {
        fields.get("package").is_some_and(|package| package.get(tool).is_some())
    };
    let starts = |fields: &serde_json::Map<String, Value>, programs: &[&str]| {
        let command = fields.get("dev").and_then(|dev| dev.get("command")?.get(0)?.as_str());
        command.is_some_and(|command| programs.contains(&last_part(command)))
    };
    let known = [
        (Toolchain::Bun, "bun", &["bun", "bunx"][..]),
        (Toolchain::Go, "go", &["go"]),
        (Toolchain::Node, "node", &["node", "npx", "tsx", "npm", "pnpm", "yarn"]),
        (Toolchain::Deno, "deno", &["deno"]),
        (Toolchain::Python, "python", &["python", "python3", "uv", "uvicorn", "poetry"]),
    ];
    known
        .into_iter()
        .filter(move |(_, tool, programs)| package(fields, tool) || starts(fields, programs))
        .map(|(toolchain, ..)| toolchain)
}

/// What the backends need besides the page: the packages beside the main file that `package` names.
pub(super) fn installs(project: &Project, config: &MergedConfig<'_>) -> Vec<(String, String)> {
    let page = project.front_end.as_ref().map(FrontEnd::folder);
    let mut found = Vec::new();
    for sidecar in config.sidecars().ok().flatten().unwrap_or_default() {
        let Some(package) = sidecar.fields.get("package") else { continue };
        let main = |tool: &str| package.get(tool).and_then(Value::as_str).map(|main| project.root.join(main));
        // The nearest folder with this file, inside of the project.
        let above = |main: &Path, file: &str| -> Option<PathBuf> {
            let folders = main.ancestors().skip(1).take_while(|folder| folder.starts_with(&project.root));
            folders.map(Path::to_owned).find(|folder| folder.join(file).is_file())
        };
        let mut add = |folder: &Path, command: &str| {
            let install = (relative(folder, &project.root), command.to_owned());
            if !found.contains(&install) {
                found.push(install);
            }
        };
        if let Some(main) = main("node").or_else(|| main("bun")) {
            let folder = above(&main, "package.json").filter(|folder| Some(folder.as_path()) != page);
            let locked = |folder: &PathBuf, lock: &str| folder.join(lock).is_file();
            match folder {
                Some(folder) if locked(&folder, "package-lock.json") => add(&folder, "npm ci"),
                Some(folder) if locked(&folder, "pnpm-lock.yaml") => {
                    add(&folder, "pnpm install --frozen-lockfile");
                }
                Some(folder) if locked(&folder, "yarn.lock") => add(&folder, "yarn install"),
                Some(folder) if locked(&folder, "bun.lock") || locked(&folder, "bun.lockb") => {
                    add(&folder, "bun install --frozen-lockfile");
                }
                // A workspace installs it with the page.
                _ => {}
            }
        }
        if let Some(main) = main("python") {
            let requirements =
                above(&main, "requirements.txt").map(|folder| (folder, " -r requirements.txt"));
            let project_file = || above(&main, "pyproject.toml").map(|folder| (folder, " ."));
            let (folder, packages) = requirements.or_else(project_file).unwrap_or((project.root.clone(), ""));
            add(&folder, &format!("python3 -m pip install pyinstaller{packages}"));
        }
    }
    found
}

/// The sidecars that can be checked: those of the bundle that announce themselves and have the health of the protocol. One with `args`
/// or `env` may need them to start, and `pillion check` would not give them; `pillion package` has started it with them.
fn checks(config: &MergedConfig<'_>) -> Result<Vec<Check>, String> {
    let Some(section) = config.get(&["plugins", "pillion"]) else { return Ok(Vec::new()) };
    let declared: Config = serde_json::from_value(section.clone()).map_err(|error| {
        format!("{}: {error}", Project::shown(&config.file_of(&["plugins", "pillion"]).path))
    })?;
    let sidecars = config.sidecars().map_err(|error| error.to_string())?.unwrap_or_default();
    let checks = sidecars.into_iter().filter_map(|sidecar| {
        let known = declared.sidecars.get(&sidecar.name)?;
        let filled = |field: &str| match sidecar.fields.get(field) {
            Some(Value::Array(args)) => !args.is_empty(),
            Some(Value::Object(env)) => !env.is_empty(),
            _ => false,
        };
        let keeps_protocol = known.listen() == Listen::Announced
            && known.is_checked_by_health()
            && !filled("args")
            && !filled("env");
        match &sidecar.program {
            SidecarProgram::External { entry: Some(entry), .. } if keeps_protocol => {
                Some(Check { name: sidecar.name.clone(), entry: entry.clone(), private: sidecar.private() })
            }
            _ => None,
        }
    });
    Ok(checks.collect())
}
