//! Capabilities: which permissions the pages of which windows have (<https://v2.tauri.app/security/capabilities/>).

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Document, MergedConfig, Platform, ProjectError, document};

/// A capability of the app.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Capability {
    pub(crate) identifier: String,
    /// Patterns of window labels.
    pub(crate) windows: Vec<String>,
    /// Patterns of webview labels.
    pub(crate) webviews: Vec<String>,
    pub(crate) permissions: Vec<PermissionEntry>,
    /// Whether it is for the app's own pages; `remote` pages are named by URL.
    pub(crate) local: bool,
    /// Whether it is in effect: the configuration does not leave it out, and it is for this platform.
    pub(crate) active: bool,
    pub(crate) origin: CapabilityOrigin,
}

/// Where a capability is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CapabilityOrigin {
    pub(crate) path: PathBuf,
    /// The keys of the capability in the file; empty if the whole file is one capability.
    pub(crate) keys: Vec<String>,
}

/// An element of `permissions`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PermissionEntry {
    /// Such as `pillion:allow-connect`.
    pub(crate) identifier: String,
    /// The scope entries that it allows; empty for all.
    pub(crate) allow: Vec<Value>,
    pub(crate) deny: Vec<Value>,
}

impl Capability {
    /// Whether it is for the window with this label. The patterns are names with `*`.
    pub(crate) fn covers(&self, label: &str) -> bool {
        let matches = |pattern: &String| {
            let (start, rest) = pattern.split_once('*').unwrap_or((pattern, ""));
            if pattern.contains('*') {
                label.starts_with(start) && label.ends_with(rest)
            } else {
                pattern == label
            }
        };
        self.windows.iter().chain(&self.webviews).any(matches)
    }
}

impl PermissionEntry {
    /// Whether `deny` names this sidecar. Then no entry under `allow` grants the permission.
    pub(crate) fn denies(&self, sidecar: &str) -> bool {
        names(&self.deny, sidecar)
    }
}

/// The label of the first window in the configuration, which is `main` by default.
pub(crate) fn first_window_label(config: &MergedConfig<'_>) -> String {
    let windows = config.get(&["app", "windows"]);
    let label = windows.and_then(|windows| windows.get(0)?.get("label")?.as_str());
    label.unwrap_or("main").to_owned()
}

/// The capability that a permission is added to: the one with a usual name, or else the first one.
pub(crate) fn usual<'a>(capabilities: &[&'a Capability]) -> Option<&'a Capability> {
    let is_usual = |it: &&&Capability| ["default", "main"].contains(&it.identifier.as_str());
    capabilities.iter().find(is_usual).or(capabilities.first()).copied()
}

/// Whether these capabilities of a window grant a command for this sidecar. `permissions` are those that allow the command.
///
/// As Tauri does, the command has one scope, of the entries of all these permissions: an entry without `allow` grants all sidecars only
/// if no other one has `allow`. As Pillion does, `deny` takes precedence.
pub(crate) fn grants(capabilities: &[&Capability], permissions: &[&str], sidecar: &str) -> bool {
    let entries: Vec<_> = capabilities
        .iter()
        .flat_map(|capability| &capability.permissions)
        .filter(|entry| permissions.contains(&entry.identifier.as_str()))
        .collect();
    let all = entries.iter().all(|entry| entry.allow.is_empty());
    !entries.is_empty()
        && !permissions.iter().any(|permission| denied(capabilities, permission).is_some())
        && !entries.iter().any(|entry| entry.denies(sidecar))
        && (all || entries.iter().any(|entry| names(&entry.allow, sidecar)))
}

/// The entry that denies the command of this permission, which takes precedence over each one that allows it
/// (<https://v2.tauri.app/security/permissions/>).
pub(crate) fn denied<'a>(
    capabilities: &[&'a Capability],
    permission: &str,
) -> Option<(&'a Capability, &'a PermissionEntry)> {
    let denying = permission.replace(":allow-", ":deny-");
    let mut entries = capabilities.iter().flat_map(|it| it.permissions.iter().map(|entry| (*it, entry)));
    entries.find(|(_, entry)| entry.identifier == denying && denying != permission)
}

fn names(scope: &[Value], sidecar: &str) -> bool {
    scope.iter().any(|entry| entry["sidecar"] == sidecar)
}

/// The permissions that let a page do the same in different ways: call a sidecar, and read its status.
const GROUPS: [&[&str]; 2] =
    [&["pillion:allow-connect", "pillion:allow-fetch"], &["pillion:default", "pillion:allow-watch"]];

/// The entry that limits this permission to some sidecars, or another one of its group; first of all an entry of this permission that
/// denies this sidecar. A new entry without a scope would grant more than the developer wants.
pub(crate) fn narrowed<'a>(
    capabilities: &[&'a Capability],
    permission: &str,
    sidecar: &str,
) -> Option<(&'a Capability, &'a PermissionEntry)> {
    let group = GROUPS.into_iter().find(|group| group.contains(&permission)).unwrap_or_default();
    let entries = capabilities.iter().flat_map(|it| it.permissions.iter().map(|entry| (*it, entry)));
    let of_group = |entry: &PermissionEntry| {
        entry.identifier == permission || group.contains(&entry.identifier.as_str())
    };
    let scoped = entries
        .filter(|(_, entry)| !(entry.allow.is_empty() && entry.deny.is_empty()))
        .filter(|(_, entry)| of_group(entry));
    let denying = |entry: &PermissionEntry| entry.identifier == permission && entry.denies(sidecar);
    scoped.clone().find(|(_, entry)| denying(entry)).or_else(|| scoped.clone().next())
}

/// Reads the files below `capabilities`, and the capabilities in the configuration.
pub(super) fn read(tauri: &Path, config: &MergedConfig<'_>) -> Result<Vec<Capability>, ProjectError> {
    let mut files = Vec::new();
    list(&tauri.join("capabilities"), &mut files)?;
    files.sort();
    let mut capabilities = Vec::new();
    for file in files {
        let document = Document::read(&file)?;
        for (keys, value) in entries(&document.value) {
            capabilities.push(capability(&document, keys, value, config.platform)?);
        }
    }
    let keys = ["app", "security", "capabilities"];
    let listed = match config.get(&keys) {
        Some(Value::Array(listed)) if !listed.is_empty() => listed,
        // Without a list, Tauri uses every file.
        _ => return Ok(capabilities),
    };
    for found in &mut capabilities {
        found.active &= listed.iter().any(|entry| entry == found.identifier.as_str());
    }
    let document = config.file_of(&keys);
    for (index, inline) in listed.iter().enumerate().filter(|(_, entry)| entry.is_object()) {
        let keys = keys.iter().map(|key| (*key).to_owned()).chain([index.to_string()]).collect();
        capabilities.push(capability(document, keys, inline, config.platform)?);
    }
    Ok(capabilities)
}

/// The capabilities in a file: itself, a list, or a list below `capabilities`.
fn entries(value: &Value) -> Vec<(Vec<String>, &Value)> {
    let numbered = |before: &[&str], list: &'_ [Value]| -> Vec<Vec<String>> {
        let before: Vec<_> = before.iter().map(|key| (*key).to_owned()).collect();
        (0..list.len()).map(|index| [before.clone(), vec![index.to_string()]].concat()).collect()
    };
    match value {
        Value::Array(list) => numbered(&[], list).into_iter().zip(list).collect(),
        Value::Object(fields) => match fields.get("capabilities") {
            Some(Value::Array(list)) => numbered(&["capabilities"], list).into_iter().zip(list).collect(),
            _ => vec![(Vec::new(), value)],
        },
        _ => vec![(Vec::new(), value)],
    }
}

fn capability(
    document: &Document,
    keys: Vec<String>,
    value: &Value,
    platform: Platform,
) -> Result<Capability, ProjectError> {
    let error = |field: &str, message: String| {
        let mut keys: Vec<_> = keys.iter().map(String::as_str).collect();
        keys.push(field);
        document.error(&keys, message)
    };
    let identifier = document::get(value, &["identifier"])
        .and_then(Value::as_str)
        .ok_or_else(|| error("identifier", "a capability needs the string `identifier`".to_owned()))?;
    let strings = |field: &str| -> Result<Vec<String>, ProjectError> {
        match value.get(field) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
                Ok(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            Some(_) => Err(error(field, format!("`{field}` of a capability must be a list of strings"))),
        }
    };
    let entries = value.get("permissions").and_then(Value::as_array).ok_or_else(|| {
        error("permissions", format!("the capability {identifier} needs the list `permissions`"))
    })?;
    let permissions = entries.iter().map(permission).collect::<Option<Vec<_>>>().ok_or_else(|| {
        error("permissions", "a permission is a string, or an object with the string `identifier`".to_owned())
    })?;
    let platforms = strings("platforms")?;
    let here = platform.name_in_capabilities();
    Ok(Capability {
        identifier: identifier.to_owned(),
        windows: strings("windows")?,
        webviews: strings("webviews")?,
        permissions,
        local: value.get("local").and_then(Value::as_bool).unwrap_or(true),
        active: value.get("platforms").is_none_or(Value::is_null)
            || platforms.iter().any(|name| name == here),
        origin: CapabilityOrigin { path: document.path.clone(), keys },
    })
}

fn permission(entry: &Value) -> Option<PermissionEntry> {
    let list = |field: &str| entry.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let identifier = entry.as_str().or_else(|| entry.get("identifier")?.as_str())?.to_owned();
    Some(PermissionEntry { identifier, allow: list("allow"), deny: list("deny") })
}

/// Lists the files that Tauri reads as capabilities. It reads subfolders, too, except the generated `schemas`.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), ProjectError> {
    if !folder.is_dir() {
        return Ok(());
    }
    let error = |error| ProjectError::new(folder, format!("cannot list the folder: {error}"));
    for entry in fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() && path.file_name().is_none_or(|name| name != "schemas") {
            list(&path, files)?;
        } else if path.is_file() && matches!(extension, Some("json" | "json5" | "toml")) {
            files.push(path);
        }
    }
    Ok(())
}
