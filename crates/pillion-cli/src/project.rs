//! A Tauri project on disk: the one model that `pillion init`, `pillion package` and `pillion doctor` share. It reads, and never
//! writes.
//!
//! The rules are those of Tauri 2: <https://v2.tauri.app/develop/configuration-files/>,
//! <https://v2.tauri.app/security/capabilities/>, <https://v2.tauri.app/develop/sidecar/>.

mod capability;
mod config;
mod document;
mod error;
mod find;
mod front_end;
mod manifest;
mod merged;
mod resources;
mod triple;

use std::path::{Component, Path, PathBuf};

pub(crate) use self::{
    capability::{Capability, PermissionEntry, denied, first_window_label, grants, narrowed, usual},
    config::{MOBILE, Platform, TauriConfig},
    document::{Document, Format, kebab_case, read_text},
    error::{Position, ProjectError},
    front_end::{FrontEnd, PackageManager, workspace_of},
    manifest::CargoManifest,
    merged::{DeclaredSidecar, MergedConfig, SidecarProgram, last_part},
    triple::TargetTriple,
};

/// A Tauri project.
#[derive(Debug)]
pub(crate) struct Project {
    /// The folder of the Tauri configuration, usually `src-tauri`. Paths in the configuration are relative to it.
    pub(crate) tauri: PathBuf,
    /// The folder that contains [`tauri`](Self::tauri). The paths of `dev` in a declaration are relative to it.
    pub(crate) root: PathBuf,
    /// The Tauri configuration, with its platform-specific files.
    pub(crate) config: TauriConfig,
    /// The manifest of the app's crate.
    pub(crate) manifest: CargoManifest,
    /// The package of the page; `None` for a page without a `package.json`.
    pub(crate) front_end: Option<FrontEnd>,
}

impl Project {
    /// Finds the project that `start` belongs to, and reads its files.
    ///
    /// `start` may be any folder inside the project, the folder above it, or the root of a repository that contains one project.
    ///
    /// # Errors
    ///
    /// Fails if no project is found, if several are, or if a file cannot be read or parsed.
    pub(crate) fn find(start: &Path) -> Result<Self, ProjectError> {
        Self::read(find::tauri_folder(start)?)
    }

    /// Reads the project with this folder of the Tauri configuration.
    fn read(tauri: PathBuf) -> Result<Self, ProjectError> {
        let root = tauri.parent().unwrap_or(&tauri).to_owned();
        let config = TauriConfig::read(&tauri)?;
        let manifest = CargoManifest::read(&tauri)?;
        let front_end = FrontEnd::find(&root, &tauri, &config.on(Platform::host()))?;
        Ok(Self { tauri, root, config, manifest, front_end })
    }

    /// The capabilities of the app on this platform, from the folder `capabilities` and from the configuration. Those that the
    /// configuration leaves out are included, and marked as inactive.
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read or parsed.
    pub(crate) fn capabilities(&self, platform: Platform) -> Result<Vec<Capability>, ProjectError> {
        capability::read(&self.tauri, &self.config.on(platform))
    }

    /// A path for people: relative to the folder that the command was started in, if it is inside of it.
    pub(crate) fn shown(path: &Path) -> String {
        let here = std::env::current_dir().unwrap_or_default();
        let shown = path.strip_prefix(here).unwrap_or(path).display().to_string();
        if shown.is_empty() { ".".to_owned() } else { shown }
    }

    /// The folder of the project's repository, or that of the project itself if it has none.
    pub(crate) fn repository(&self) -> &Path {
        self.root.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&self.root)
    }
}

/// Removes `.` and `..` from a path, which need not exist.
pub(crate) fn normalize(path: &Path) -> PathBuf {
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

#[cfg(test)]
mod tests;
