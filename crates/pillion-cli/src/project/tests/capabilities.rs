//! Which capabilities are in effect, and what they grant.

use super::*;

#[test]
fn capabilities_come_from_files_and_from_the_configuration() {
    let folder = folder(&[
        CARGO,
        (
            "src-tauri/tauri.conf.json",
            r#"{ "app": { "security": { "capabilities": ["main", "mac",
                { "identifier": "inline", "windows": ["tool"], "permissions": ["pillion:default"] }] } } }"#,
        ),
        (
            "src-tauri/capabilities/main.json",
            r#"{ "identifier": "main", "windows": ["main"], "permissions": ["core:default",
                { "identifier": "pillion:allow-connect", "allow": [{ "sidecar": "backend" }] }] }"#,
        ),
        (
            "src-tauri/capabilities/more/list.toml",
            "[[capabilities]]\nidentifier = \"mac\"\nplatforms = [\"macOS\"]\nwindows = [\"*\"]\npermissions = []\n\n\
             [[capabilities]]\nidentifier = \"unused\"\nwindows = [\"*\"]\npermissions = []\n",
        ),
        ("src-tauri/capabilities/schemas/desktop.json", "not a capability"),
    ]);
    let project = find(&folder, "").unwrap();
    let capabilities = project.capabilities(Platform::Linux).unwrap();
    let found: Vec<_> = capabilities
        .iter()
        .map(|found| (found.identifier.as_str(), found.active, found.origin.keys.join(".")))
        .collect();
    assert_eq!(
        found,
        [
            ("main", true, String::new()),
            ("mac", false, "capabilities.0".to_owned()),
            ("unused", false, "capabilities.1".to_owned()),
            ("inline", true, "app.security.capabilities.2".to_owned()),
        ]
    );
    assert!(grants(&[&capabilities[0]], &["pillion:allow-connect"], "backend"));
    assert!(!grants(&[&capabilities[0]], &["pillion:allow-connect"], "other"));
    assert!(project.capabilities(Platform::MacOs).unwrap()[1].active);
}

#[test]
fn without_a_list_every_capability_file_is_active() {
    let folder = folder(&[
        CARGO,
        ("src-tauri/tauri.conf.json", "{}"),
        ("src-tauri/capabilities/a.json", r#"{ "identifier": "a", "permissions": ["core:default"] }"#),
        ("src-tauri/capabilities/b.json", "{\n \"identifier\": \"b\" }"),
    ]);
    let error = find(&folder, "").unwrap().capabilities(Platform::Linux).unwrap_err();
    assert!(
        error.to_string().ends_with("b.json:1:1: the capability b needs the list `permissions`"),
        "{error}"
    );
    fs::remove_file(folder.path().join("src-tauri/capabilities/b.json")).unwrap();
    let capabilities = find(&folder, "").unwrap().capabilities(Platform::Linux).unwrap();
    assert!(capabilities.len() == 1 && capabilities[0].active);
}

/// Capabilities with an entry each: an identifier, its `allow` and its `deny`.
fn with(entries: &[(&str, &[&str], &[&str])]) -> Vec<Capability> {
    let scope = |names: &[&str]| -> Vec<_> { names.iter().map(|name| json!({ "sidecar": name })).collect() };
    let files: Vec<_> = entries
        .iter()
        .enumerate()
        .map(|(index, (identifier, allow, deny))| {
            let entry = json!({ "identifier": identifier, "allow": scope(allow), "deny": scope(deny) });
            let text = json!({ "identifier": index.to_string(), "permissions": [entry] }).to_string();
            (format!("src-tauri/capabilities/{index}.json"), text)
        })
        .collect();
    let mut all = vec![CARGO, ("src-tauri/tauri.conf.json", "{}")];
    all.extend(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    find(&folder(&all), "").unwrap().capabilities(Platform::Linux).unwrap()
}

/// Tauri gives a command one scope, of all permissions that allow it (`CommandScope` in Tauri).
#[test]
fn the_scopes_of_all_capabilities_count_together() {
    type Entry<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);
    let granted = |entries: &[Entry<'_>]| {
        let capabilities = with(entries);
        let capabilities: Vec<_> = capabilities.iter().collect();
        grants(&capabilities, &["stop", "all"], "backend")
    };
    assert!(granted(&[("stop", &[], &[])]));
    assert!(granted(&[("stop", &["backend"], &[])]));
    assert!(granted(&[("stop", &["other"], &[]), ("stop", &["backend"], &[])]));
    assert!(granted(&[("stop", &["backend"], &[]), ("all", &[], &["other"])]));
    assert!(!granted(&[("swap", &[], &[])]));
    assert!(!granted(&[("stop", &["other"], &[])]));
    // Without a scope beside one with a scope.
    assert!(!granted(&[("stop", &["other"], &[]), ("stop", &[], &[])]));
    assert!(!granted(&[("stop", &["other"], &[]), ("all", &[], &[])]));
    // `deny` takes precedence, also over another capability.
    assert!(!granted(&[("stop", &[], &["backend"])]));
    assert!(!granted(&[("stop", &["backend"], &["backend"])]));
    assert!(!granted(&[("stop", &["backend"], &[]), ("all", &[], &["backend"])]));
}
