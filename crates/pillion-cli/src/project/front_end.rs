//! The package of the page, and the package manager that installs its dependencies.

use std::{fmt, path::Path};

use serde_json::Value;

use super::{Document, MergedConfig, ProjectError};

/// The package of the page.
#[derive(Debug)]
pub(crate) struct FrontEnd {
    pub(crate) package: Document,
    pub(crate) manager: PackageManager,
    /// How the package manager was found, for people: a lock file, a field, a command, or the default.
    pub(crate) found_by: String,
}

/// A package manager for packages of the npm registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PackageManager {
    Npm,
    Pnpm,
    Yarn,
    Bun,
    Deno,
}

impl PackageManager {
    const ALL: [Self; 5] = [Self::Npm, Self::Pnpm, Self::Yarn, Self::Bun, Self::Deno];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pnpm => "pnpm",
            Self::Yarn => "yarn",
            Self::Bun => "bun",
            Self::Deno => "deno",
        }
    }

    /// The command that runs a script of the package, before its name.
    pub(crate) fn run(self) -> &'static str {
        match self {
            Self::Npm => "npm run",
            Self::Pnpm => "pnpm run",
            Self::Yarn => "yarn run",
            Self::Bun => "bun run",
            Self::Deno => "deno task",
        }
    }

    fn lock_files(self) -> &'static [&'static str] {
        match self {
            Self::Npm => &["package-lock.json", "npm-shrinkwrap.json"],
            Self::Pnpm => &["pnpm-lock.yaml"],
            Self::Yarn => &["yarn.lock"],
            Self::Bun => &["bun.lock", "bun.lockb"],
            Self::Deno => &["deno.lock"],
        }
    }

    /// The manager that a command begins with, such as `pnpm dev`.
    fn of_command(command: &str) -> Option<Self> {
        let word = command.split_whitespace().next()?;
        Self::ALL.into_iter().find(|manager| {
            let name = manager.name();
            word == name
                || word.strip_suffix(".cmd") == Some(name)
                || (word == "bunx" && *manager == Self::Bun)
        })
    }
}

impl fmt::Display for PackageManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FrontEnd {
    /// Finds the package in the folder that contains the app, above the page's built files, or beside the configuration.
    pub(super) fn find(
        root: &Path,
        tauri: &Path,
        config: &MergedConfig<'_>,
    ) -> Result<Option<Self>, ProjectError> {
        let built = config.get(&["build", "frontendDist"]).and_then(Value::as_str);
        // A URL is not a folder.
        let built =
            built.filter(|path| !path.contains("://")).map(|path| super::normalize(&tauri.join(path)));
        let above_built = built.iter().flat_map(|folder| folder.ancestors());
        let folders = std::iter::once(root)
            .chain(above_built.take_while(|folder| folder.starts_with(root)))
            .chain(std::iter::once(tauri));
        for folder in folders {
            if let Some(package) = Document::read_if_exists(&folder.join("package.json"))? {
                let (manager, found_by) = manager(folder, root, &package, config)?;
                return Ok(Some(Self { package, manager, found_by }));
            }
        }
        Ok(None)
    }

    /// The folder of the package.
    pub(crate) fn folder(&self) -> &Path {
        self.package.path.parent().unwrap_or(Path::new(""))
    }

    /// The folders that may hold the lock file and the installed packages, the next one first: up to the root of the workspace, or of
    /// the repository.
    pub(crate) fn folders_of_workspace<'a>(&'a self, root: &'a Path) -> Vec<&'a Path> {
        folders_of_lock_files(self.folder(), root)
    }

    /// Whether the package or the root of its workspace brings Tauri's command. Without it, `npx tauri` would run another package of
    /// that name; Cargo then has the command.
    pub(crate) fn brings_tauri(&self, root: &Path) -> bool {
        self.folders_of_workspace(root).into_iter().any(|folder| {
            let package = Document::read_if_exists(&folder.join("package.json")).ok().flatten();
            package.is_some_and(|package| {
                let has = |section| package.get(&[section, "@tauri-apps/cli"]).is_some();
                has("dependencies") || has("devDependencies")
            })
        })
    }

    /// The version requirement for a package, in `dependencies` or `devDependencies`.
    pub(crate) fn dependency(&self, package: &str) -> Option<&str> {
        ["dependencies", "devDependencies"]
            .into_iter()
            .find_map(|section| self.package.value.get(section)?.get(package)?.as_str())
    }
}

/// The package manager: by `packageManager` in `package.json` (<https://nodejs.org/api/packages.html#packagemanager>), by the next
/// lock file at or above the package, by the commands of the Tauri configuration, or npm.
fn manager(
    folder: &Path,
    root: &Path,
    package: &Document,
    config: &MergedConfig<'_>,
) -> Result<(PackageManager, String), ProjectError> {
    if let Some(field) = package.value.get("packageManager").and_then(Value::as_str) {
        let name = field.split('@').next().unwrap_or_default();
        if let Some(manager) = PackageManager::ALL.into_iter().find(|manager| manager.name() == name) {
            return Ok((manager, format!("`packageManager` in package.json is {field}")));
        }
    }
    for folder in folders_of_lock_files(folder, root) {
        let mut locks: Vec<_> = PackageManager::ALL
            .into_iter()
            .flat_map(|manager| manager.lock_files().iter().map(move |lock| (manager, *lock)))
            .filter(|(_, lock)| folder.join(lock).is_file())
            .collect();
        // A program of Deno may lie beside a page of another manager.
        if locks.iter().any(|(manager, _)| *manager != PackageManager::Deno) {
            locks.retain(|(manager, _)| *manager != PackageManager::Deno);
        }
        match locks.as_slice() {
            [] => {}
            [(manager, lock), rest @ ..] if rest.iter().all(|(other, _)| other == manager) => {
                return Ok((*manager, format!("the lock file {lock}")));
            }
            several => {
                let names: Vec<_> = several.iter().map(|(_, lock)| *lock).collect();
                return Err(ProjectError::new(
                    folder,
                    format!(
                        "has lock files of several package managers ({}): delete those that you do not use, or set \
                         `packageManager` in package.json",
                        names.join(", ")
                    ),
                ));
            }
        }
    }
    for command in ["beforeDevCommand", "beforeBuildCommand"] {
        if let Some(manager) = config.build_command(command).and_then(PackageManager::of_command) {
            return Ok((manager, format!("`build.{command}` of the Tauri configuration")));
        }
    }
    Ok((PackageManager::Npm, "the default, because the project has no lock file".to_owned()))
}

/// The folders whose lock file may be that of the package in `folder`, the next one first: up to the root of a workspace, or the
/// folder of the repository. Outside of a repository it is not clear what belongs together: then only the folder of the package and
/// `root` count, so that a forgotten file in the home folder does not.
fn folders_of_lock_files<'a>(folder: &'a Path, root: &'a Path) -> Vec<&'a Path> {
    let is_repository = |folder: &Path| folder.join(".git").exists();
    if !folder.ancestors().any(is_repository) {
        return if folder == root { vec![folder] } else { vec![folder, root] };
    }
    let mut folders = Vec::new();
    for above in folder.ancestors() {
        folders.push(above);
        if is_repository(above) || is_workspace(above) {
            break;
        }
    }
    folders
}

/// The root of the workspace whose package lies in `folder`. A package with a lock file of its own is none of a workspace's.
pub(crate) fn workspace_of<'a>(folder: &'a Path, root: &'a Path) -> Option<&'a Path> {
    let locks = PackageManager::ALL.into_iter().flat_map(|manager| manager.lock_files().iter());
    if locks.into_iter().any(|lock| folder.join(lock).is_file()) {
        return None;
    }
    folders_of_lock_files(folder, root).into_iter().skip(1).find(|above| is_workspace(above))
}

/// Whether a folder is the root of a workspace of npm, pnpm, Yarn or Bun.
fn is_workspace(folder: &Path) -> bool {
    // A file that cannot be parsed says nothing; the package's own one was read before.
    let package = Document::read_if_exists(&folder.join("package.json")).ok().flatten();
    folder.join("pnpm-workspace.yaml").is_file()
        || package.is_some_and(|package| package.get(&["workspaces"]).is_some())
}
