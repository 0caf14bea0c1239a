//! The package of the page, and the package manager that installs its dependencies.

use std::{
    fmt,
    path::{Path, PathBuf},
};

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
}

impl PackageManager {
    const ALL: [Self; 4] = [Self::Npm, Self::Pnpm, Self::Yarn, Self::Bun];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pnpm => "pnpm",
            Self::Yarn => "yarn",
            Self::Bun => "bun",
        }
    }

    fn lock_files(self) -> &'static [&'static str] {
        match self {
            Self::Npm => &["package-lock.json", "npm-shrinkwrap.json"],
            Self::Pnpm => &["pnpm-lock.yaml"],
            Self::Yarn => &["yarn.lock"],
            Self::Bun => &["bun.lock", "bun.lockb"],
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
        // A URL is no folder.
        let built = built.filter(|path| !path.contains("://")).map(|path| normalize(&tauri.join(path)));
        let above_built = built.iter().flat_map(|folder| folder.ancestors());
        let folders = std::iter::once(root)
            .chain(above_built.take_while(|folder| folder.starts_with(root)))
            .chain(std::iter::once(tauri));
        for folder in folders {
            if let Some(package) = Document::read_if_exists(&folder.join("package.json"))? {
                let (manager, found_by) = manager(folder, &package, config)?;
                return Ok(Some(Self { package, manager, found_by }));
            }
        }
        Ok(None)
    }

    /// The folder of the package.
    pub(crate) fn folder(&self) -> &Path {
        self.package.path.parent().unwrap_or(Path::new(""))
    }

    /// The version requirement for a package, in `dependencies` or `devDependencies`.
    pub(crate) fn dependency(&self, package: &str) -> Option<&str> {
        ["dependencies", "devDependencies"]
            .into_iter()
            .find_map(|section| self.package.value.get(section)?.get(package)?.as_str())
    }
}

/// The package manager: by the next lock file at or above the package, by `packageManager` in `package.json`
/// (<https://nodejs.org/api/packages.html#packagemanager>), by the commands of the Tauri configuration, or npm.
fn manager(
    folder: &Path,
    package: &Document,
    config: &MergedConfig<'_>,
) -> Result<(PackageManager, String), ProjectError> {
    let field = package.value.get("packageManager").and_then(Value::as_str);
    let by_field = field.and_then(|field| {
        let name = field.split('@').next()?;
        let manager = PackageManager::ALL.into_iter().find(|manager| manager.name() == name)?;
        Some((manager, format!("`packageManager` in package.json is {field}")))
    });
    for above in folder.ancestors() {
        let locks: Vec<_> = PackageManager::ALL
            .into_iter()
            .flat_map(|manager| manager.lock_files().iter().map(move |lock| (manager, *lock)))
            .filter(|(_, lock)| above.join(lock).is_file())
            .collect();
        match (locks.as_slice(), &by_field) {
            ([], _) => {}
            ([(manager, lock), rest @ ..], _) if rest.iter().all(|(other, _)| other == manager) => {
                return Ok((*manager, format!("the lock file {lock}")));
            }
            (_, Some(by_field)) => return Ok(by_field.clone()),
            (several, None) => {
                let names: Vec<_> = several.iter().map(|(_, lock)| *lock).collect();
                return Err(ProjectError::new(
                    above,
                    format!(
                        "has lock files of several package managers ({}): delete those that you do not use, or set \
                         `packageManager` in package.json",
                        names.join(", ")
                    ),
                ));
            }
        }
        if above.join(".git").exists() {
            break;
        }
    }
    if let Some(by_field) = by_field {
        return Ok(by_field);
    }
    for command in ["beforeDevCommand", "beforeBuildCommand"] {
        if let Some(manager) = config.build_command(command).and_then(PackageManager::of_command) {
            return Ok((manager, format!("`build.{command}` of the Tauri configuration")));
        }
    }
    Ok((PackageManager::Npm, "the default, because the project has no lock file".to_owned()))
}

/// Removes `.` and `..` from a path that may not exist.
fn normalize(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => normal.push(component),
        }
    }
    normal
}
