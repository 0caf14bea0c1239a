//! Which capability gets the permissions.

use super::*;

#[test]
fn an_app_without_a_capability_gets_one() {
    let folder = app(&[("src-tauri/capabilities/default.json", "")]);
    apply(folder.path(), None);
    let capability: Value =
        serde_json::from_str(&read(&folder, "src-tauri/capabilities/pillion.json")).unwrap();
    assert_eq!(capability["permissions"], json!(["pillion:default", "pillion:allow-connect"]));
    assert_eq!(capability["windows"], json!(["main"]));
}

#[test]
fn a_capability_that_is_not_listed_is_not_the_window_s() {
    let listed = CONFIG.replace("\"csp\": null", "\"csp\": null,\n      \"capabilities\": [\"other\"]");
    let other = CAPABILITY.replace("\"default\"", "\"other\"").replace("[\"main\"]", "[\"settings\"]");
    let folder =
        app(&[("src-tauri/tauri.conf.json", &listed), ("src-tauri/capabilities/other.json", &other)]);
    apply(folder.path(), None);
    assert_eq!(read(&folder, "src-tauri/capabilities/default.json"), CAPABILITY);
    assert_eq!(config(&folder)["app"]["security"]["capabilities"], json!(["other", "pillion"]));
}

#[test]
fn an_inline_capability_is_edited_in_the_configuration() {
    let inline = CONFIG.replace(
        "\"csp\": null",
        "\"csp\": null,\n      \"capabilities\": [\n        { \"identifier\": \"own\", \"windows\": [\"*\"], \"permissions\": [\"core:default\"] }\n      ]",
    );
    let folder = app(&[("src-tauri/tauri.conf.json", &inline)]);
    apply(folder.path(), None);
    let permissions = config(&folder)["app"]["security"]["capabilities"][0]["permissions"].clone();
    assert_eq!(permissions, json!(["core:default", "pillion:default", "pillion:allow-connect"]));
}

#[test]
fn a_capability_in_toml_is_edited() {
    let text = "# Windows.\n[[capabilities]]\nidentifier = \"main\"\nwindows = [\"main\"]\npermissions = [\n    \"core:default\",\n]\n";
    let folder =
        app(&[("src-tauri/capabilities/default.json", ""), ("src-tauri/capabilities/all.toml", text)]);
    apply(folder.path(), None);
    let edited = read(&folder, "src-tauri/capabilities/all.toml");
    assert!(edited.starts_with("# Windows.\n"), "{edited}");
    assert!(
        edited
            .contains("\n    \"core:default\",\n    \"pillion:default\",\n    \"pillion:allow-connect\",\n]"),
        "{edited}"
    );
}

#[test]
fn a_permission_for_another_sidecar_is_not_widened() {
    let scoped = CAPABILITY.replace(
        "\"opener:default\"",
        "{ \"identifier\": \"pillion:allow-connect\", \"allow\": [{ \"sidecar\": \"database\" }] }",
    );
    let folder = app(&[("src-tauri/capabilities/default.json", &scoped)]);
    let plan = apply(folder.path(), None);
    assert!(plan.by_hand.iter().any(|item| item.what.contains("extend its scope")), "{:?}", plan.by_hand);
    let capability: Value =
        serde_json::from_str(&read(&folder, "src-tauri/capabilities/default.json")).unwrap();
    assert_eq!(capability["permissions"].as_array().unwrap().len(), 3);
}

#[test]
fn a_scope_in_another_capability_or_of_another_permission_is_not_widened() {
    let scoped = |identifier: &str| {
        format!(
            "{{ \"identifier\": \"narrow\", \"windows\": [\"main\"], \"permissions\": [\"pillion:default\",\n    {{ \
             \"identifier\": \"{identifier}\", \"allow\": [{{ \"sidecar\": \"database\" }}] }}] }}\n"
        )
    };
    for (identifier, lines) in [
        ("pillion:allow-connect", "\"allow\": [{ \"sidecar\": \"backend\" }]\n"),
        (
            "pillion:allow-fetch",
            "{ \"identifier\": \"pillion:allow-connect\", \"allow\": [{ \"sidecar\": \"backend\" }] }\n",
        ),
    ] {
        let narrow = scoped(identifier);
        let folder = app(&[("src-tauri/capabilities/narrow.json", &narrow)]);
        let plan = apply(folder.path(), None);
        assert!(plan.by_hand.iter().any(|item| item.lines == lines), "{identifier}: {:?}", plan.by_hand);
        assert_eq!(read(&folder, "src-tauri/capabilities/narrow.json"), narrow);
        assert_eq!(read(&folder, "src-tauri/capabilities/default.json"), CAPABILITY);
    }
}

#[test]
fn a_sidecar_under_deny_gets_no_allow() {
    for entries in [
        "{ \"identifier\": \"pillion:allow-connect\", \"deny\": [{ \"sidecar\": \"backend\" }] }",
        "{ \"identifier\": \"pillion:allow-fetch\", \"allow\": [{ \"sidecar\": \"database\" }] }, { \"identifier\": \
         \"pillion:allow-connect\", \"deny\": [{ \"sidecar\": \"backend\" }] }",
    ] {
        let denied = CAPABILITY.replace("\"opener:default\"", &format!("\"pillion:default\", {entries}"));
        let folder = app(&[("src-tauri/capabilities/default.json", &denied)]);
        let plan = apply(folder.path(), None);
        let items: Vec<_> = plan.by_hand.iter().filter(|item| item.what.contains("allow-connect")).collect();
        assert_eq!(items.len(), 1, "{:?}", plan.by_hand);
        assert!(items[0].what.contains("from its `deny`") && items[0].lines.is_empty(), "{items:?}");
        assert_eq!(read(&folder, "src-tauri/capabilities/default.json"), denied);
    }
}
