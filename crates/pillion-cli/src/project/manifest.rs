//! The `Cargo.toml` of the app's crate, and that of the workspace around it.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Document, ProjectError};

/// The manifest of the app's crate.
#[derive(Debug)]
pub(crate) struct CargoManifest {
    pub(crate) document: Document,
    /// The manifest of the workspace, if it is another file.
    pub(crate) workspace: Option<Document>,
}

/// A dependency in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Dependency {
    pub(crate) version: Option<String>,
    /// As written, relative to the manifest that has it.
    pub(crate) path: Option<String>,
    pub(crate) git: Option<String>,
    pub(crate) features: Vec<String>,
    /// Whether it is `workspace = true`: the other fields are then those of the workspace.
    pub(crate) inherited: bool,
}

impl CargoManifest {
    /// Reads the manifest in this folder, and finds its workspace above it.
    pub(super) fn read(folder: &Path) -> Result<Self, ProjectError> {
        let path = folder.join("Cargo.toml");
        if !path.is_file() {
            return Err(ProjectError::new(
                &path,
                "the file does not exist: the folder of the Tauri configuration must hold the app's crate",
            ));
        }
        let document = Document::read(&path)?;
        let workspace = if document.get(&["workspace"]).is_some() {
            None
        } else {
            find_workspace(folder, document.get(&["package", "workspace"]).and_then(Value::as_str))?
        };
        Ok(Self { document, workspace })
    }

    /// The folder of the crate in a workspace that does not list it under `members`. Cargo compiles no such crate, unless a member depends
    /// on its path (<https://doc.rust-lang.org/cargo/reference/workspaces.html>).
    pub(crate) fn unlisted(&self) -> Option<(&Document, &Path)> {
        let workspace = self.workspace.as_ref()?;
        let inside = self.document.path.parent()?.strip_prefix(workspace.path.parent()?).ok()?;
        let members = workspace.get(&["workspace", "members"]).and_then(Value::as_array);
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::default() };
        let listed = members.into_iter().flatten().filter_map(Value::as_str).any(|pattern| {
            let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
            glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches_path_with(inside, options))
        });
        (!listed).then_some((workspace, inside))
    }

    /// The name of the package.
    pub(crate) fn package_name(&self) -> Option<&str> {
        self.document.get(&["package", "name"])?.as_str()
    }

    /// The dependency on this package, in `[dependencies]` or in that section of a target, also under another name.
    pub(crate) fn dependency(&self, package: &str) -> Option<Dependency> {
        let sections = [&["dependencies"] as &[&str]].into_iter().filter_map(|keys| self.document.get(keys));
        let targets = self.document.get(&["target"]).and_then(Value::as_object);
        let of_targets =
            targets.into_iter().flat_map(Map::values).filter_map(|target| target.get("dependencies"));
        let value = sections.chain(of_targets).find_map(|section| find(section, package))?;
        let dependency = dependency(value);
        if !dependency.inherited {
            return Some(dependency);
        }
        let workspace = self.workspace.as_ref().unwrap_or(&self.document);
        let shared = workspace.get(&["workspace", "dependencies"]).and_then(|section| find(section, package));
        Some(Dependency { inherited: true, ..shared.map(self::dependency).unwrap_or_default() })
    }
}

/// The entry of a section for a package.
fn find<'a>(section: &'a Value, package: &str) -> Option<&'a Value> {
    let renamed = |value: &Value| value.get("package").is_some_and(|name| name == package);
    section.as_object()?.iter().find_map(|(name, value)| {
        let is_it = renamed(value) || (name == package && value.get("package").is_none());
        is_it.then_some(value)
    })
}

fn dependency(value: &Value) -> Dependency {
    if let Some(version) = value.as_str() {
        return Dependency { version: Some(version.to_owned()), ..Dependency::default() };
    }
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let features = value.get("features").and_then(Value::as_array).into_iter().flatten();
    Dependency {
        version: text("version"),
        path: text("path"),
        git: text("git"),
        features: features.filter_map(Value::as_str).map(str::to_owned).collect(),
        inherited: value.get("workspace").is_some_and(|inherited| *inherited == true),
    }
}

/// The manifest of the workspace that a crate belongs to: the one that `package.workspace` names, or the next one above the crate
/// with the section `workspace`, unless that excludes it (<https://doc.rust-lang.org/cargo/reference/workspaces.html>).
fn find_workspace(folder: &Path, named: Option<&str>) -> Result<Option<Document>, ProjectError> {
    if let Some(named) = named {
        return Document::read(&folder.join(named).join("Cargo.toml")).map(Some);
    }
    for above in folder.ancestors().skip(1) {
        let Some(document) = Document::read_if_exists(&above.join("Cargo.toml"))? else { continue };
        if document.get(&["workspace"]).is_some() {
            let inside = folder.strip_prefix(above).unwrap_or(folder);
            let excluded = document.get(&["workspace", "exclude"]).and_then(Value::as_array);
            let excluded = excluded.into_iter().flatten().filter_map(Value::as_str);
            let outside = excluded.into_iter().any(|path| inside.starts_with(path));
            return Ok((!outside).then_some(document));
        }
    }
    Ok(None)
}
