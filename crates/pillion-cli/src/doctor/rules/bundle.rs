//! What `tauri build` has made: the folders that it packs, which it leaves beside the packages.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::super::{
    Environment,
    catalogue::{NOT_IN_BUNDLE, OTHER_IN_BUNDLE},
    names,
    report::Finding,
};
use crate::project::{Document, MergedConfig, Platform, Project, TargetTriple, last_part};

/// The folders with programs, below `target/release/bundle`: of .deb (`NAME_VERSION_ARCHITECTURE`), AppImage and macOS apps, each with
/// whether its programs are the same bytes as before. linuxdeploy and a signature change them.
const FOLDERS: [(Platform, &str, bool); 3] = [
    (Platform::Linux, "deb/*_{version}_*/data/usr/bin", true),
    (Platform::Linux, "appimage/*.AppDir/usr/bin", false),
    (Platform::MacOs, "macos/*.app/Contents/MacOS", false),
];

/// A folder with programs.
struct Folder {
    path: PathBuf,
    /// What it was built for.
    target: Option<TargetTriple>,
    keeps_bytes: bool,
}

pub(in super::super) fn check(
    project: &Project,
    config: &MergedConfig<'_>,
    environment: &Environment,
    found: &mut Vec<Finding>,
) {
    let mut entries = config.external_bin().unwrap_or_default();
    // Another finding names the other ones.
    entries.retain(|entry| names::suffix(last_part(entry)).is_none());
    for Folder { path: folder, target, keeps_bytes } in folders(project, config, environment) {
        for entry in &entries {
            let path = folder.join(last_part(entry));
            let place = Project::shown(&path);
            if !path.is_file() {
                let detail = format!("bundle.externalBin lists {entry:?}, but the bundle has no such file");
                found.push(Finding::new(&NOT_IN_BUNDLE, place, detail));
                continue;
            }
            if let Some(mode) = not_executable(&path) {
                found.push(Finding::new(
                    &NOT_IN_BUNDLE,
                    place,
                    format!("may not be executed: mode {mode:04o}"),
                ));
                continue;
            }
            let Some(target) = &target else { continue };
            let built = project.tauri.join(MergedConfig::external_file(entry, target));
            if keeps_bytes && built.is_file() && !same(&path, &built).unwrap_or(true) {
                let detail = format!("differs from {}", Project::shown(&built));
                found.push(Finding::new(&OTHER_IN_BUNDLE, place, detail));
            }
        }
    }
}

/// The version of the app, as Tauri takes it: from its configuration, which may name a `package.json`, or from `Cargo.toml`.
fn version(project: &Project, config: &MergedConfig<'_>) -> Option<String> {
    if let Some(version) = config.get(&["version"]).and_then(Value::as_str) {
        if !version.ends_with(".json") {
            return Some(version.to_owned());
        }
        let package = Document::read_if_exists(&project.tauri.join(version)).ok()??;
        return package.get(&["version"])?.as_str().map(str::to_owned);
    }
    let manifest = &project.manifest;
    let own = manifest.document.get(&["package", "version"])?;
    let shared = || {
        let workspace = manifest.workspace.as_ref().unwrap_or(&manifest.document);
        workspace.get(&["workspace", "package", "version"])?.as_str()
    };
    own.as_str().or_else(shared).map(str::to_owned)
}

/// The letters and digits of the app's name, as Tauri takes it: from its configuration, or from `Cargo.toml`.
fn name(project: &Project, config: &MergedConfig<'_>) -> Option<String> {
    let of_crate = || project.manifest.document.get(&["package", "name"]);
    Some(plain(config.get(&["productName"]).or_else(of_crate)?.as_str()?))
}

fn plain(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether a folder below `bundle`, such as `deb/NAME_VERSION_ARCHITECTURE`, is of the app of this name. Several apps can have one
/// target folder.
fn is_of_app(folder: &Path, name: &str) -> bool {
    let mut parts = folder.iter().skip_while(|part| *part != "bundle").skip(2);
    let Some(part) = parts.next().and_then(|part| part.to_str()) else { return false };
    let without_ending = [".AppDir", ".app"].into_iter().find_map(|ending| part.strip_suffix(ending));
    plain(without_ending.unwrap_or_else(|| part.rsplitn(3, '_').last().unwrap_or(part))) == name
}

/// The folders with programs of the current version. Those of older versions stay for ever.
fn folders(project: &Project, config: &MergedConfig<'_>, environment: &Environment) -> Vec<Folder> {
    let own = project.manifest.workspace.as_ref().unwrap_or(&project.manifest.document);
    let target_folder = match &environment.cargo_target_dir {
        Some(folder) => project.tauri.join(folder),
        None => own.path.with_file_name("target"),
    };
    let base = glob::Pattern::escape(&target_folder.to_string_lossy());
    let version = version(project, config).map_or_else(|| "*".to_owned(), |it| glob::Pattern::escape(&it));
    let name = name(project, config);
    let mut folders = Vec::new();
    for (_, pattern, keeps_bytes) in FOLDERS.iter().filter(|(of, ..)| *of == config.platform) {
        let pattern = pattern.replace("{version}", &version);
        for between in ["", "*/"] {
            let pattern = format!("{base}/{between}release/bundle/{pattern}");
            for path in glob::glob(&pattern).into_iter().flatten().flatten() {
                let inside = path.strip_prefix(&target_folder).unwrap_or(&path);
                if name.as_ref().is_some_and(|name| !is_of_app(inside, name)) {
                    continue;
                }
                let first = inside.iter().next();
                let named = first.and_then(|first| first.to_str()?.parse().ok());
                let target = if between.is_empty() { environment.host.clone() } else { named };
                folders.push(Folder { path, target, keeps_bytes: *keeps_bytes });
            }
        }
    }
    folders
}

/// The mode of a file without the right to execute it.
#[cfg(unix)]
fn not_executable(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    (mode & 0o111 == 0).then_some(mode)
}

#[cfg(not(unix))]
fn not_executable(_: &Path) -> Option<u32> {
    None
}

fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let length = |path: &Path| fs::metadata(path).map(|metadata| metadata.len());
    Ok(length(one)? == length(other)? && fs::read(one)? == fs::read(other)?)
}
