//! The Tauri configuration and its platform-specific files.

use std::path::{Path, PathBuf};

use super::{Document, MergedConfig, ProjectError};

/// A system that a sidecar runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Platform {
    Linux,
    MacOs,
    Windows,
}

impl Platform {
    pub(crate) const ALL: [Self; 3] = [Self::Linux, Self::MacOs, Self::Windows];

    /// The system that this program runs on.
    pub(crate) fn host() -> Self {
        if cfg!(windows) {
            Self::Windows
        } else if cfg!(target_os = "macos") {
            Self::MacOs
        } else {
            Self::Linux
        }
    }

    /// The name in the file names of Tauri: `tauri.linux.conf.json`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::MacOs => "macos",
            Self::Windows => "windows",
        }
    }

    /// The name in `platforms` of a capability.
    pub(crate) fn name_in_capabilities(self) -> &'static str {
        match self {
            Self::MacOs => "macOS",
            Self::Linux | Self::Windows => self.name(),
        }
    }
}

/// The files of the Tauri configuration.
#[derive(Debug)]
pub(crate) struct TauriConfig {
    /// `tauri.conf.json`, `tauri.conf.json5` or `Tauri.toml`.
    pub(crate) base: Document,
    /// `tauri.linux.conf.json` and the like, which exist.
    pub(crate) platforms: Vec<(Platform, Document)>,
}

/// The names of the file in the order in which Tauri looks for them.
const BASE: [&str; 3] = ["tauri.conf.json", "tauri.conf.json5", "Tauri.toml"];

/// The file of the configuration in this folder, if it has one. Of several files, Tauri reads the first one.
pub(super) fn base_file(folder: &Path) -> Option<PathBuf> {
    first_file(folder, &BASE)
}

fn first_file<T: AsRef<str>>(folder: &Path, names: &[T]) -> Option<PathBuf> {
    names.iter().map(|name| folder.join(name.as_ref())).find(|file| file.is_file())
}

impl TauriConfig {
    pub(super) fn read(folder: &Path) -> Result<Self, ProjectError> {
        let base = base_file(folder).ok_or_else(|| {
            ProjectError::new(folder, format!("the folder has none of the files {}", BASE.join(", ")))
        })?;
        let base = Document::read(&base)?;
        if !base.value.is_object() {
            return Err(base.error(&[], "the configuration must be an object"));
        }
        let mut platforms = Vec::new();
        for platform in Platform::ALL {
            let name = platform.name();
            let names = [
                format!("tauri.{name}.conf.json"),
                format!("tauri.{name}.conf.json5"),
                format!("Tauri.{name}.toml"),
            ];
            if let Some(file) = first_file(folder, &names) {
                platforms.push((platform, Document::read(&file)?));
            }
        }
        Ok(Self { base, platforms })
    }

    /// The configuration of this platform: its own file is merged into the base by JSON merge patch
    /// ([RFC 7396](https://datatracker.ietf.org/doc/html/rfc7396)), as Tauri does.
    pub(crate) fn on(&self, platform: Platform) -> MergedConfig<'_> {
        let own = self.platforms.iter().find(|(of, _)| *of == platform).map(|(_, document)| document);
        let mut value = self.base.value.clone();
        if let Some(own) = own {
            json_patch::merge(&mut value, &own.value);
        }
        MergedConfig { platform, value, base: &self.base, own }
    }

    /// All files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Document> {
        std::iter::once(&self.base).chain(self.platforms.iter().map(|(_, document)| document))
    }
}
