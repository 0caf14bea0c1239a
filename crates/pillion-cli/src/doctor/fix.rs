//! Makes the changes of `--fix`.

use std::{fs, io, path::Path};

use jsonc_parser::cst::{CstInputValue, CstNode, CstRootNode};

use super::report::{Finding, Fix};
use crate::project::{Format, Project};

/// Applies the fix of each finding that has one, and marks it as fixed.
///
/// # Errors
///
/// The first change that fails, with its file. Earlier ones stay.
pub(super) fn apply(findings: &mut [Finding]) -> Result<(), String> {
    for finding in findings {
        let Some(fix) = &finding.fix else { continue };
        let (file, changed) = match fix {
            Fix::Mode { file, bits } => (file, add_mode(file, *bits)),
            Fix::Line { file, line } => (file, append(file, line)),
            Fix::Permissions { file, identifiers } => (file, add_permissions(file, identifiers)),
        };
        changed.map_err(|error| {
            format!(
                "cannot correct {} in {}: {error}; correct it by hand",
                finding.kind.id,
                Project::shown(file)
            )
        })?;
        finding.fixed = true;
    }
    Ok(())
}

#[cfg(unix)]
fn add_mode(file: &Path, bits: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut permissions = fs::metadata(file)?.permissions();
    permissions.set_mode(permissions.mode() | bits);
    fs::set_permissions(file, permissions)
}

#[cfg(not(unix))]
fn add_mode(_: &Path, _: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Appends a line, unless the file has it: two findings can have the same fix.
fn append(file: &Path, line: &str) -> io::Result<()> {
    let mut text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    if text.lines().any(|existing| existing == line) {
        return Ok(());
    }
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str(newline);
    }
    text.push_str(line);
    text.push_str(newline);
    fs::write(file, text)
}

/// Adds permissions to a capability in JSON. Comments and order stay.
fn add_permissions(file: &Path, identifiers: &[&str]) -> io::Result<()> {
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let text = fs::read_to_string(file)?;
    let root =
        CstRootNode::parse(&text, &Format::json_options()).map_err(|error| wrong(error.to_string()))?;
    let capability = root.object_value().ok_or_else(|| wrong("it contains no JSON object".to_owned()))?;
    let permissions = capability
        .array_value("permissions")
        .ok_or_else(|| wrong("`permissions` is not a list".to_owned()))?;
    let present: Vec<_> = permissions.elements().iter().filter_map(CstNode::to_serde_value).collect();
    for identifier in identifiers {
        if !present.iter().any(|value| value == identifier) {
            permissions.append(CstInputValue::from(*identifier));
        }
    }
    fs::write(file, root.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_is_added_once_and_comments_stay() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("default.json");
        let text = "{\n  // the main window\n  \"identifier\": \"default\",\n  \"permissions\": [\n    \"core:default\"\n  ]\n}\n";
        fs::write(&file, text).unwrap();
        for _ in 0..2 {
            add_permissions(&file, &["pillion:default"]).unwrap();
        }
        let wanted = text.replace("default\"\n  ]", "default\",\n    \"pillion:default\"\n  ]");
        assert_eq!(fs::read_to_string(&file).unwrap(), wanted);
    }

    #[test]
    fn a_line_is_appended_once_with_the_line_ends_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".gitignore");
        for _ in 0..2 {
            append(&file, "/binaries/").unwrap();
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "/binaries/\n");
        fs::write(&file, "/gen/\r\n/target/").unwrap();
        append(&file, "/binaries/").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "/gen/\r\n/target/\r\n/binaries/\r\n");
    }
}
