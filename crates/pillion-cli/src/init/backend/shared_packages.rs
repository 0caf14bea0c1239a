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
            Runtime::Python => of_python(&package),
            Runtime::Go => of_go(&package),
            Runtime::Deno => Vec::new(),
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

/// The package of this name in the workspace of npm.
fn member(workspace: &Path, name: &str) -> Option<PathBuf> {
    member_by(workspace, "package.json", &["name"], |it| it == name)
}

/// The package of a workspace whose manifest has this name.
fn member_by(
    workspace: &Path,
    manifest: &str,
    keys: &[&str],
    is_named: impl Fn(&str) -> bool,
) -> Option<PathBuf> {
    let is_source = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name.starts_with('.') || name == "node_modules" || name == "target")
    };
    let folders = WalkDir::new(workspace).min_depth(1).max_depth(DEPTH).into_iter().filter_entry(is_source);
    let mut folders =
        folders.flatten().filter(|entry| entry.file_type().is_dir()).map(walkdir::DirEntry::into_path);
    folders.find(|folder| {
        let document = document(folder, manifest);
        document.is_some_and(|it| it.get(keys).and_then(Value::as_str).is_some_and(&is_named))
    })
}

/// The nearest folder above that has this manifest with this section: the root of a workspace.
pub(super) fn root_above(folder: &Path, manifest: &str, section: &[&str]) -> Option<(PathBuf, Document)> {
    folder.ancestors().find_map(|folder| {
        let document = document(folder, manifest)?;
        document.get(section).is_some().then(|| (folder.to_owned(), document))
    })
}

fn of_cargo(folder: &Path) -> Vec<(PathBuf, String)> {
    let Some(manifest) = document(folder, "Cargo.toml") else { return Vec::new() };
    let dependencies = manifest.get(&["dependencies"]).and_then(Value::as_object).into_iter().flatten();
    let folder_of = |(name, value): (&String, &Value)| {
        let path_in = |value: &Value| Some(value.get("path")?.as_str()?.to_owned());
        let path = match path_in(value) {
            Some(path) => folder.join(path),
            None if value.get("workspace") == Some(&Value::Bool(true)) => {
                let (root, manifest) = root_above(folder, "Cargo.toml", &["workspace"])?;
                root.join(path_in(manifest.get(&["workspace", "dependencies", name])?)?)
            }
            None => return None,
        };
        (path.is_dir() && !name.starts_with("pillion")).then_some(path)
    };
    dependencies.filter_map(folder_of).map(|package| (package, "src/**/*.rs".to_owned())).collect()
}

/// The packages that uv or Poetry take from folders
/// (<https://docs.astral.sh/uv/concepts/projects/dependencies/#dependency-sources>).
fn of_python(folder: &Path) -> Vec<(PathBuf, String)> {
    const UV: [&str; 3] = ["tool", "uv", "sources"];
    let Some(manifest) = document(folder, "pyproject.toml") else { return Vec::new() };
    let workspace = root_above(folder, "pyproject.toml", &["tool", "uv", "workspace"]);
    // Sources of the root count for each member.
    let documents = [Some((folder, &manifest)), workspace.as_ref().map(|(root, it)| (root.as_path(), it))];
    let mut found = Vec::new();
    for (base, document) in documents.into_iter().flatten() {
        for keys in [UV, ["tool", "poetry", "dependencies"]] {
            let sources = document.get(&keys).and_then(Value::as_object).into_iter().flatten();
            for (name, source) in sources.filter(|(name, _)| !name.starts_with("pillion")) {
                let path = source.get("path").and_then(Value::as_str).map(|path| base.join(path));
                let member = || {
                    source.get("workspace")?.as_bool().filter(|it| *it)?;
                    let (root, _) = workspace.as_ref()?;
                    member_by(root, "pyproject.toml", &["project", "name"], |it| {
                        normalized(it) == normalized(name)
                    })
                };
                found.extend(path.or_else(member).filter(|path| path.is_dir() && path != folder));
            }
        }
    }
    found.into_iter().map(|package| (package, "**/*.py".to_owned())).collect()
}

/// The name of a Python package without the differences that do not count
/// (<https://packaging.python.org/en/latest/specifications/name-normalization/>).
fn normalized(name: &str) -> String {
    name.to_lowercase().replace(['_', '.'], "-")
}

/// The modules that `replace` names by their folders (<https://go.dev/ref/mod#go-mod-file-replace>), and the others of a `go.work`.
fn of_go(folder: &Path) -> Vec<(PathBuf, String)> {
    let module = std::fs::read_to_string(folder.join("go.mod")).unwrap_or_default();
    let mut found: Vec<PathBuf> = module
        .lines()
        .filter_map(|line| line.split("//").next()?.split_once("=>"))
        .map(|(_, target)| target.trim())
        .filter(|target| target.starts_with("./") || target.starts_with("../"))
        .map(|target| folder.join(target))
        .collect();
    let workspace = folder.ancestors().skip(1).find(|it| it.join("go.work").is_file());
    if let Some(workspace) = workspace {
        let text = std::fs::read_to_string(workspace.join("go.work")).unwrap_or_default();
        let words = text.lines().filter_map(|line| line.split("//").next()).flat_map(str::split_whitespace);
        let modules = words.filter(|word| word.starts_with("./")).map(|word| workspace.join(word));
        found.extend(modules.filter(|module| relative_path(module, folder) != "."));
    }
    found.retain(|module| module.join("go.mod").is_file());
    found.into_iter().map(|package| (package, "**/*.go".to_owned())).collect()
}

fn document(folder: &Path, name: &str) -> Option<Document> {
    Document::read_if_exists(&folder.join(name)).ok().flatten()
}
