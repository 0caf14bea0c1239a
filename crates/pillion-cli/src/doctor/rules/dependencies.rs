//! The crate of the plugin and its npm package.

use std::path::Path;

use semver::{Version, VersionReq};
use serde_json::Value;

use super::super::{
    catalogue::{PLUGIN_MISSING, PLUGIN_VERSIONS},
    report::Finding,
};
use crate::project::{Document, Project};

const CRATE: &str = "tauri-plugin-pillion";
pub(in super::super) const PACKAGE: &str = "tauri-plugin-pillion-api";

/// Checks the dependencies. Returns whether the app depends on the plugin.
pub(in super::super) fn check(project: &Project, found: &mut Vec<Finding>) -> bool {
    let manifest = Project::shown(&project.manifest.document.path);
    let Some(dependency) = project.manifest.dependency(CRATE) else {
        found.push(Finding::new(&PLUGIN_MISSING, manifest, format!("[dependencies] has no {CRATE}")));
        return false;
    };
    let front_end = project.front_end.as_ref();
    let Some((front_end, wanted)) = front_end.and_then(|it| Some((it, it.dependency(PACKAGE)?))) else {
        return true;
    };
    // What is installed decides; before an installation, what is asked for.
    let rust = locked_crate(&project.tauri).map_or(dependency.version, Some);
    let npm = installed_package(front_end.folder()).unwrap_or_else(|| wanted.to_owned());
    if let Some(rust) = rust
        && !agree(&rust, &npm)
    {
        found.push(Finding::new(
            &PLUGIN_VERSIONS,
            manifest,
            format!("{CRATE} is {rust}, and {PACKAGE} is {npm}"),
        ));
    }
    true
}

/// The version in the lock file of Cargo.
fn locked_crate(tauri: &Path) -> Option<String> {
    let lock = tauri.ancestors().map(|folder| folder.join("Cargo.lock")).find(|lock| lock.is_file())?;
    let lock: toml_edit::DocumentMut = std::fs::read_to_string(lock).ok()?.parse().ok()?;
    let packages = lock.get("package")?.as_array_of_tables()?;
    let package =
        packages.iter().find(|package| package.get("name").and_then(|name| name.as_str()) == Some(CRATE))?;
    package.get("version")?.as_str().map(str::to_owned)
}

/// The version of the installed package, which may be in a folder above.
fn installed_package(folder: &Path) -> Option<String> {
    let file = |folder: &Path| folder.join("node_modules").join(PACKAGE).join("package.json");
    let package = folder.ancestors().map(file).find(|file| file.is_file())?;
    let package = Document::read(&package).ok()?;
    package.value.get("version").and_then(Value::as_str).map(str::to_owned)
}

/// Whether the versions are the same, or one is a requirement that the other fulfils. A path, a URL or a tag cannot be compared.
fn agree(rust: &str, npm: &str) -> bool {
    let version = |text: &str| Version::parse(text.trim_start_matches('=').trim()).ok();
    match (version(rust), version(npm)) {
        (Some(rust), Some(npm)) => rust == npm,
        (Some(exact), None) => VersionReq::parse(npm).map_or(true, |wanted| wanted.matches(&exact)),
        (None, Some(exact)) => VersionReq::parse(rust).map_or(true, |wanted| wanted.matches(&exact)),
        (None, None) => {
            // "0.1" and "^0.1.0" ask for the same.
            let oldest = |text: &str| {
                let wanted = VersionReq::parse(text).ok()?;
                let first = wanted.comparators.first()?;
                Some((first.major, first.minor.unwrap_or(0)))
            };
            match (oldest(rust), oldest(npm)) {
                (Some(rust), Some(npm)) => rust == npm,
                _ => true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_requirements_are_compared() {
        for (rust, npm, same) in [
            ("0.1.0", "0.1.0", true),
            ("0.1.0", "0.1.1", false),
            ("0.1.3", "^0.1.0", true),
            ("0.1", "0.1.4", true),
            ("0.1", "^0.2.0", false),
            ("0.1", "^0.1.0", true),
            ("0.2.0", "~0.1.0", false),
            ("0.1.0", "file:../pillion", true),
            ("0.1.0", "workspace:*", true),
        ] {
            assert_eq!(agree(rust, npm), same, "{rust} and {npm}");
        }
    }
}
