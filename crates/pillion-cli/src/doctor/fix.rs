//! Makes the changes of `--fix`.

use std::{fs, io, path::Path};

use super::report::{Finding, Fix};
use crate::{init::add_permissions, project::Project};

/// Applies the fix of each finding that has one, and marks it as fixed. A change that fails is told in the detail of its finding,
/// which stays.
pub(super) fn apply(findings: &mut [Finding]) {
    for finding in findings {
        let Some(fix) = &finding.fix else { continue };
        let (file, changed) = match fix {
            Fix::Mode { file, bits } => (file, add_mode(file, *bits).map_err(|error| error.to_string())),
            Fix::Line { file, line } => (file, append(file, line).map_err(|error| error.to_string())),
            Fix::Permissions { file, keys, identifiers } => (file, add_permissions(file, keys, identifiers)),
        };
        match changed {
            Ok(()) => finding.fixed = true,
            Err(error) => {
                let why =
                    format!("\n--fix cannot correct {}: {error}; correct it by hand", Project::shown(file));
                finding.detail.push_str(&why);
                finding.fix = None;
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::{super::catalogue::PERMISSION, *};

    #[test]
    fn a_permission_is_added_once_and_comments_stay() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("default.json");
        let text = "{\n  // the main window\n  \"identifier\": \"default\",\n  \"permissions\": [\n    \"core:default\"\n  ]\n}\n";
        fs::write(&file, text).unwrap();
        for _ in 0..2 {
            add_permissions(&file, &[], &["pillion:default"]).unwrap();
        }
        let wanted = text.replace("default\"\n  ]", "default\",\n    \"pillion:default\"\n  ]");
        assert_eq!(fs::read_to_string(&file).unwrap(), wanted);
    }

    #[test]
    fn a_capability_in_toml_is_extended_and_a_failure_stops_no_other_fix() {
        let folder = tempfile::tempdir().unwrap();
        let (toml, wrong) = (folder.path().join("default.toml"), folder.path().join("wrong.json"));
        fs::write(&toml, "identifier = \"default\"\npermissions = [\"core:default\"]\n").unwrap();
        fs::write(&wrong, "[").unwrap();
        let mut findings = [&wrong, &toml].map(|file| {
            let fix = Fix::Permissions {
                file: file.clone(),
                keys: Vec::new(),
                identifiers: vec!["pillion:default"],
            };
            Finding::new(&PERMISSION, "", "missing").with_fix(fix)
        });
        apply(&mut findings);
        let [failed, fixed] = findings;
        assert!(
            !failed.fixed && failed.fix.is_none() && failed.detail.contains("--fix cannot"),
            "{failed:?}"
        );
        assert!(fixed.fixed);
        assert!(fs::read_to_string(&toml).unwrap().contains("[\"core:default\", \"pillion:default\"]"));
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
