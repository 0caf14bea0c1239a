//! Finds the folder of the Tauri configuration.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{ProjectError, config};

/// The usual name of the folder.
const USUAL: &str = "src-tauri";
/// How many folders deep the search looks below a folder, as Tauri's command line does
/// (`TAURI_CLI_CONFIG_DEPTH`: <https://v2.tauri.app/reference/environment-variables/>).
const DEPTH: usize = 3;
/// Folders with other people's files, or with files that a build makes.
const SKIPPED: [&str; 4] = ["node_modules", "target", "dist", "build"];

/// Returns the folder with the Tauri configuration of the project that `start` belongs to, as an absolute path.
///
/// It looks in `start` and each folder above it (in the folder itself and in `src-tauri`), then below `start`, then below the
/// folder of the repository.
pub(super) fn tauri_folder(start: &Path) -> Result<PathBuf, ProjectError> {
    let start = std::path::absolute(start)
        .map_err(|error| ProjectError::new(start, format!("cannot find the folder: {error}")))?;
    if !start.is_dir() {
        return Err(ProjectError::new(start, "the folder does not exist"));
    }
    let repository = start.ancestors().find(|folder| folder.join(".git").exists());
    for folder in start.ancestors() {
        for candidate in [folder.to_owned(), folder.join(USUAL)] {
            if config::base_file(&candidate).is_some() {
                return Ok(candidate);
            }
        }
        if Some(folder) == repository {
            break;
        }
    }
    let mut found = Vec::new();
    for folder in [Some(start.as_path()), repository].into_iter().flatten() {
        look_below(folder, DEPTH, &mut found);
        if !found.is_empty() {
            break;
        }
    }
    found.sort();
    match found.as_slice() {
        [] => Err(ProjectError::new(
            start,
            "found no Tauri app here, above, or up to 3 folders below: a Tauri app has the file src-tauri/tauri.conf.json, \
             tauri.conf.json5 or Tauri.toml; go to its folder, or make an app with `npm create tauri-app@latest`",
        )),
        [only] => Ok(only.clone()),
        several => {
            let list: Vec<_> = several.iter().map(|folder| folder.display().to_string()).collect();
            Err(ProjectError::new(
                start,
                format!(
                    "found {} Tauri apps; run the command in the folder of one: {}",
                    list.len(),
                    list.join(", ")
                ),
            ))
        }
    }
}

fn look_below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    // A folder that cannot be read holds no project of this user.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // `file_type` does not follow symbolic links, which could form a circle.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_folder || name.starts_with('.') || SKIPPED.contains(&name.as_ref()) {
            continue;
        }
        let path = entry.path();
        if config::base_file(&path).is_some() {
            found.push(path);
        } else if depth > 1 {
            look_below(&path, depth - 1, found);
        }
    }
}
