//! Whether git and `tauri dev` leave the built sidecars alone.

use std::path::{Path, PathBuf};

use ignore::gitignore::GitignoreBuilder;

use super::super::{
    catalogue::{GITIGNORE, TAURIGNORE},
    report::{Finding, Fix},
};
use crate::project::{MergedConfig, Project};

pub(in super::super) fn check(project: &Project, config: &MergedConfig<'_>, found: &mut Vec<Finding>) {
    let mut folders: Vec<String> = Vec::new();
    for entry in config.external_bin().unwrap_or_default() {
        let folder = match entry.trim_start_matches("./").rsplit_once('/') {
            // A folder outside of the Tauri folder is the user's own business.
            Some((folder, _)) if !folder.starts_with("..") && Path::new(folder).is_relative() => {
                folder.to_owned()
            }
            _ => continue,
        };
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    let tauri = &project.tauri;
    let repository = tauri.ancestors().find(|folder| folder.join(".git").exists());
    for folder in folders {
        let path = tauri.join(&folder);
        let place = Project::shown(&path);
        // The name of a file decides: a pattern may be for the files alone.
        let file = path.join("sidecar-x86_64-unknown-linux-gnu");
        let upto = repository.unwrap_or(&project.root);
        if repository.is_some() && !ignores(upto, tauri, ".gitignore", &file, false) {
            found.push(
                Finding::new(
                    &GITIGNORE,
                    &place,
                    format!(
                        "no .gitignore from {} to {} matches it",
                        Project::shown(upto),
                        Project::shown(tauri)
                    ),
                )
                .with_fix(Fix::Line { file: tauri.join(".gitignore"), line: format!("/{folder}/") }),
            );
        }
        // `tauri dev` watches the folders in the Tauri folder that git does not ignore, and of their files those that no .taurignore
        // ignores: build_ignore_matcher and lookup in crates/tauri-cli/src/interface/rust.rs.
        let first = tauri.join(folder.split('/').next().unwrap_or(&folder));
        let unwatched = ignores(upto, tauri, ".gitignore", &first, true)
            || ignores(upto, tauri, ".taurignore", &first, true)
            || ignores(upto, tauri, ".taurignore", &file, false);
        if !unwatched {
            found.push(
                Finding::new(&TAURIGNORE, &place, "no .taurignore and no .gitignore matches the folder")
                    .with_fix(Fix::Line { file: tauri.join(".taurignore"), line: format!("/{folder}/") }),
            );
        }
    }
}

/// Whether a file of this name, in a folder from `top` to `tauri`, ignores the path.
fn ignores(top: &Path, tauri: &Path, name: &str, path: &Path, is_folder: bool) -> bool {
    let folders: Vec<PathBuf> =
        tauri.ancestors().take_while(|folder| folder.starts_with(top)).map(Path::to_owned).collect();
    // The nearest file decides.
    folders
        .iter()
        .find_map(|folder| {
            let mut patterns = GitignoreBuilder::new(folder);
            let file = folder.join(name);
            // A line that is not a pattern is left out, as git does.
            let _ = file.is_file().then(|| patterns.add(&file)).flatten();
            let matched = patterns.build().ok()?.matched_path_or_any_parents(path, is_folder).is_ignore();
            matched.then_some(())
        })
        .is_some()
}
