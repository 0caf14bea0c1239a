//! Tools and runtimes that npm provides, in a cache of this user: installed once, in exact versions, with npm itself, so that its
//! configuration (registry, proxy, offline) applies.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::process::{Failure, read, run};

/// On Windows, npm is a batch file, which can only be started by its full name.
const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };
/// Names the folder of the cache, instead of the one of the system.
const CACHE: &str = "PILLION_CACHE";

/// The folder of downloaded tools.
#[derive(Debug, Clone)]
pub(super) struct NpmCache {
    folder: PathBuf,
}

impl NpmCache {
    /// The cache of this user: `PILLION_CACHE`, or the folder `pillion` in the system's folder for caches.
    pub(super) fn of_user() -> Result<Self, Failure> {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = variable(CACHE).or_else(|| {
            let system = if cfg!(windows) {
                variable("LOCALAPPDATA")
            } else if cfg!(target_os = "macos") {
                variable("HOME").map(|home| home.join("Library/Caches"))
            } else {
                variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))
            };
            system.map(|folder| folder.join("pillion"))
        });
        let folder = folder.ok_or_else(|| {
            Failure::refused(format!("this user has no folder for caches: set {CACHE} to a folder"))
        })?;
        Ok(Self { folder })
    }

    /// The folder of this version of a package. Installs it if it is missing.
    pub(super) fn package(&self, name: &str, version: &str) -> Result<PathBuf, Failure> {
        let folder = self.folder.join("npm").join(format!("{}-{version}", name.replace('/', "+")));
        let installed = folder.join("node_modules").join(name);
        if !installed.is_dir() {
            self.install(&folder, name, version)?;
        }
        Ok(installed)
    }

    /// Installs into a new folder first: an interrupted installation leaves nothing that looks complete.
    fn install(&self, folder: &Path, name: &str, version: &str) -> Result<(), Failure> {
        fs::create_dir_all(&self.folder).map_err(Failure::file("make the folder", &self.folder))?;
        let unfinished =
            tempfile::tempdir_in(&self.folder).map_err(Failure::file("make a folder in", &self.folder))?;
        let mut npm = Command::new(NPM);
        npm.args([
            "install",
            "--no-save",
            "--no-package-lock",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ])
        // The package may be for another system or processor, which npm otherwise refuses.
        .args(["--force", "--loglevel", "error", "--prefix"])
        .arg(unfinished.path())
        .arg(format!("{name}@{version}"));
        run(&mut npm).map_err(|failure| {
            Failure::failed(format!(
                "cannot get {name} {version} with npm, which `pillion package` needs once: {failure}"
            ))
        })?;
        let parent = folder.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(Failure::file("make the folder", parent))?;
        let unfinished = unfinished.keep();
        match fs::rename(&unfinished, folder) {
            Ok(()) => Ok(()),
            // Another run was faster.
            Err(_) if folder.join("node_modules").join(name).is_dir() => {
                fs::remove_dir_all(&unfinished).map_err(Failure::file("remove the folder", &unfinished))
            }
            Err(error) => Err(Failure::file("make the folder", folder)(error)),
        }
    }
}

/// The version of a package in a `node_modules`, from its manifest.
pub(super) fn version(package: &Path) -> Option<String> {
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(package.join("package.json")).ok()?).ok()?;
    manifest.get("version")?.as_str().map(str::to_owned)
}

/// A package that the project has installed, as Node finds it from this folder.
pub(super) fn installed(name: &str, from: &Path) -> Option<PathBuf> {
    let candidate = |folder: &Path| folder.join("node_modules").join(name);
    let found = from.ancestors().map(candidate).find(|package| package.is_dir())?;
    // The packages beside it are those beside its real folder: pnpm links packages.
    dunce::canonicalize(found).ok()
}

/// The version of a program, as `--version` prints it.
pub(super) fn printed_version(program: &Path) -> Result<String, Failure> {
    read(Command::new(program).arg("--version"))
}
