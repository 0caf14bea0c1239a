//! The Tauri configuration and its platform-specific files.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Document, MergedConfig, ProjectError, document};

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

/// The mobile systems, on which no sidecar runs: the name in the file names of Tauri, and the folder of the project that
/// `tauri android init` or `tauri ios init` makes.
pub(crate) const MOBILE: [(&str, &str); 2] = [("android", "gen/android"), ("ios", "gen/apple")];

/// The files of the Tauri configuration.
#[derive(Debug)]
pub(crate) struct TauriConfig {
    /// `tauri.conf.json`, `tauri.conf.json5` or `Tauri.toml`.
    pub(crate) base: Document,
    /// `tauri.linux.conf.json` and the like, which exist.
    pub(crate) platforms: Vec<(Platform, Document)>,
    /// The same for mobile systems, by their names.
    mobile: Vec<(&'static str, Document)>,
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

/// The file of this system, if it has one.
fn own_file(folder: &Path, system: &str) -> Result<Option<Document>, ProjectError> {
    let names = [
        format!("tauri.{system}.conf.json"),
        format!("tauri.{system}.conf.json5"),
        format!("Tauri.{system}.toml"),
    ];
    first_file(folder, &names).map(|file| Document::read(&file)).transpose()
}

/// Merges the file of a system into the base by JSON merge patch ([RFC 7396](https://datatracker.ietf.org/doc/html/rfc7396)), as
/// Tauri does.
fn merged(base: &Document, own: Option<&Document>) -> Value {
    let mut value = base.value.clone();
    if let Some(own) = own {
        json_patch::merge(&mut value, &own.value);
    }
    value
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
            if let Some(own) = own_file(folder, platform.name())? {
                platforms.push((platform, own));
            }
        }
        let mut mobile = Vec::new();
        for (system, _) in MOBILE {
            if let Some(own) = own_file(folder, system)? {
                mobile.push((system, own));
            }
        }
        Ok(Self { base, platforms, mobile })
    }

    /// Whether `bundle.externalBin` names a program for this mobile system.
    pub(crate) fn has_programs_on_mobile(&self, system: &str) -> bool {
        let own = self.mobile.iter().find(|(of, _)| *of == system).map(|(_, document)| document);
        let programs = merged(&self.base, own);
        document::get(&programs, &["bundle", "externalBin"])
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
    }

    /// The configuration of this platform.
    pub(crate) fn on(&self, platform: Platform) -> MergedConfig<'_> {
        let own = self.platforms.iter().find(|(of, _)| *of == platform).map(|(_, document)| document);
        MergedConfig { platform, value: merged(&self.base, own), base: &self.base, own }
    }

    /// All files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Document> {
        std::iter::once(&self.base).chain(self.platforms.iter().map(|(_, document)| document))
    }
}
