//! What `tauri build` has made: the folders that it packs, which it leaves beside the packages.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::super::{
    Environment,
    catalogue::{NOT_IN_BUNDLE, OTHER_IN_BUNDLE},
    names,
    report::Finding,
};
use crate::project::{MergedConfig, Platform, Project, TargetTriple, last_part};

/// The folders with programs, below `target/release/bundle`: of .deb, AppImage and macOS apps.
const FOLDERS: [(Platform, &str); 3] = [
    (Platform::Linux, "deb/*/data/usr/bin"),
    (Platform::Linux, "appimage/*.AppDir/usr/bin"),
    (Platform::MacOs, "macos/*.app/Contents/MacOS"),
];

pub(in super::super) fn check(
    project: &Project,
    config: &MergedConfig<'_>,
    environment: &Environment,
    found: &mut Vec<Finding>,
) {
    let mut entries = config.external_bin().unwrap_or_default();
    // Another finding names the other ones.
    entries.retain(|entry| names::suffix(last_part(entry)).is_none());
    for (folder, target) in folders(project, config.platform, environment) {
        for entry in &entries {
            let path = folder.join(last_part(entry));
            let place = Project::shown(&path);
            if !path.is_file() {
                let detail = format!("bundle.externalBin lists {entry:?}, and the bundle has no such file");
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
            // A signature changes a program for macOS.
            if config.platform == Platform::Linux && built.is_file() && !same(&path, &built).unwrap_or(true) {
                let detail = format!("differs from {}", Project::shown(&built));
                found.push(Finding::new(&OTHER_IN_BUNDLE, place, detail));
            }
        }
    }
}

/// The folders with programs, each with the target that it was built for.
fn folders(
    project: &Project,
    platform: Platform,
    environment: &Environment,
) -> Vec<(PathBuf, Option<TargetTriple>)> {
    let own = project.manifest.workspace.as_ref().unwrap_or(&project.manifest.document);
    let target_folder = match &environment.cargo_target_dir {
        Some(folder) => project.tauri.join(folder),
        None => own.path.with_file_name("target"),
    };
    let base = glob::Pattern::escape(&target_folder.to_string_lossy());
    let mut folders = Vec::new();
    for (_, pattern) in FOLDERS.iter().filter(|(of, _)| *of == platform) {
        for between in ["", "*/"] {
            let pattern = format!("{base}/{between}release/bundle/{pattern}");
            for path in glob::glob(&pattern).into_iter().flatten().flatten() {
                let first = path.strip_prefix(&target_folder).ok().and_then(|inside| inside.iter().next());
                let named = first.and_then(|first| first.to_str()?.parse().ok());
                folders.push((path, if between.is_empty() { environment.host.clone() } else { named }));
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
