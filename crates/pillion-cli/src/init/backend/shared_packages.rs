//! The packages beside a backend that it imports. Their sources are its sources, too: a change of them must start it again.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::Value;
use walkdir::WalkDir;

use super::{Runtime, relative_path};
use crate::project::{Document, workspace_of};

/// How deep the packages of a workspace lie below its root.
const DEPTH: usize = 4;

/// Patterns of `dev.watch` for the packages that the backend in `folder` imports from folders beside it, also by way of each other.
/// Those of Pillion's own clone are none. What cannot be read has none.
pub(super) fn patterns(runtime: Runtime, folder: &Path, root: &Path) -> Vec<String> {
    // By their relative paths, because the paths may contain `..`.
    let (mut seen, mut found) = (BTreeSet::from([".".to_owned()]), BTreeSet::new());
    let mut rest = vec![folder.to_owned()];
    while let Some(package) = rest.pop() {
        let imported = match runtime {
            Runtime::Node | Runtime::Bun => of_npm(&package, root),
            Runtime::Rust => of_cargo(&package),
            Runtime::Deno | Runtime::Python | Runtime::Go => Vec::new(),
        };
        for (imported, sources) in imported {
            let path = relative_path(folder, &imported);
            if seen.insert(path.clone()) {
                found.insert(format!("{path}/{sources}"));
                rest.push(imported);
            }
        }
    }
    found.into_iter().collect()
}

/// The folders of packages, with a pattern for their sources.
fn of_npm(folder: &Path, root: &Path) -> Vec<(PathBuf, String)> {
    let Some(manifest) = document(folder, "package.json") else { return Vec::new() };
    let sections = ["dependencies", "devDependencies"].map(|section| manifest.get(&[section]));
    let dependencies = sections.into_iter().flatten().filter_map(Value::as_object).flatten();
    let folder_of = |(name, value): (&String, &Value)| {
        if name.starts_with("pillion") {
            return None;
        }
        let value = value.as_str()?;
        let path = ["file:", "link:", "portal:"].iter().find_map(|scheme| value.strip_prefix(scheme));
        match path {
            Some(path) => Some(folder.join(path)).filter(|path| path.is_dir()),
            None => member(workspace_of(folder, root)?, name),
        }
    };
    let sources = |package: PathBuf| {
        let pattern = sources_of_npm(&document(&package, "package.json")?);
        Some((package, pattern))
    };
    dependencies.filter_map(folder_of).filter_map(sources).collect()
}

/// The files beside the one that an import of the package loads, and below it.
fn sources_of_npm(manifest: &Document) -> String {
    let export = manifest.get(&["exports", "."]).or_else(|| manifest.get(&["exports"]));
    let of_export = export.and_then(of_conditions);
    let main = of_export.or_else(|| manifest.get(&["main"])?.as_str()).unwrap_or("index.js");
    let main = main.trim_start_matches("./");
    let ending = main.rsplit_once('.').map_or("js", |(_, ending)| ending);
    let top = main.split_once('/').map(|(top, _)| format!("{top}/")).unwrap_or_default();
    format!("{top}**/*.{ending}")
}

/// The file of an export: it is a text, or an object of conditions.
fn of_conditions(export: &Value) -> Option<&str> {
    let chosen = ["import", "default", "require"].iter().find_map(|key| export.get(key));
    export.as_str().or_else(|| chosen?.as_str())
}

/// The package of this name in the workspace.
fn member(workspace: &Path, name: &str) -> Option<PathBuf> {
    let is_source = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name.starts_with('.') || name == "node_modules" || name == "target")
    };
    let folders = WalkDir::new(workspace).min_depth(1).max_depth(DEPTH).into_iter().filter_entry(is_source);
    let folders =
        folders.flatten().filter(|entry| entry.file_type().is_dir()).map(walkdir::DirEntry::into_path);
    let is_named = |folder: &PathBuf| {
        document(folder, "package.json")
            .is_some_and(|manifest| manifest.get(&["name"]).and_then(Value::as_str) == Some(name))
    };
    folders.into_iter().find(is_named)
}

fn of_cargo(folder: &Path) -> Vec<(PathBuf, String)> {
    let Some(manifest) = document(folder, "Cargo.toml") else { return Vec::new() };
    let dependencies = manifest.get(&["dependencies"]).and_then(Value::as_object).into_iter().flatten();
    let folder_of = |(name, value): (&String, &Value)| {
        let path = value.get("path")?.as_str().filter(|_| !name.starts_with("pillion"))?;
        Some(folder.join(path)).filter(|path| path.is_dir())
    };
    dependencies.filter_map(folder_of).map(|package| (package, "src/**/*.rs".to_owned())).collect()
}

fn document(folder: &Path, name: &str) -> Option<Document> {
    Document::read_if_exists(&folder.join(name)).ok().flatten()
}
