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
    assert!(capabilities[0].permissions[1].grants("pillion:allow-connect", "backend"));
    assert!(!capabilities[0].permissions[1].grants("pillion:allow-connect", "other"));
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

#[test]
fn a_deny_entry_takes_precedence() {
    let entry = |allow, deny| PermissionEntry { identifier: "pillion:allow-stop".to_owned(), allow, deny };
    let backend = || vec![json!({ "sidecar": "backend" })];
    let granted = |entry: PermissionEntry| entry.grants("pillion:allow-stop", "backend");
    assert!(granted(entry(vec![], vec![])));
    assert!(granted(entry(backend(), vec![])));
    assert!(!granted(entry(vec![], backend())));
    assert!(!granted(entry(backend(), backend())));
    assert!(!entry(vec![], vec![]).grants("pillion:allow-swap", "backend"));
}
