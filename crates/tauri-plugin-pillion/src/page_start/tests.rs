use serde_json::{Value, json};
use tauri::{
    App, WebviewWindowBuilder,
    test::{MockRuntime, mock_builder},
};

use super::*;
use crate::test_context::with_permissions;

/// An app with these sidecars, whose window `main` has these permissions.
fn app(granted: &Value, sidecars: &Value) -> App<MockRuntime> {
    app_with(PatternKind::Brownfield, granted, sidecars)
}

/// The same, with this pattern of Tauri.
fn app_with(pattern: PatternKind, granted: &Value, sidecars: &Value) -> App<MockRuntime> {
    let mut context = with_permissions(granted);
    context.config_mut().app.security.pattern = pattern;
    let pillion = json!({ "sidecars": sidecars });
    context.config_mut().plugins.0.insert("pillion".to_owned(), pillion);
    mock_builder().plugin(crate::init()).build(context).unwrap()
}

/// What the page in the window with this label is told, as the page receives it.
fn told(app: &App<MockRuntime>, label: &str) -> Value {
    let window = WebviewWindowBuilder::new(app, label, tauri::WebviewUrl::default()).build().unwrap();
    serde_json::to_value(known(window.as_ref())).unwrap()
}

/// A sidecar whose program is absent. No file in the folder of this user.
fn absent() -> Value {
    json!({ "program": "absent", "exitReports": false })
}

#[test]
fn a_page_is_told_only_of_sidecars_that_it_may_watch() {
    let scope = json!([{ "identifier": "pillion:allow-watch", "allow": [{ "sidecar": "one" }] }, "pillion:allow-connect"]);
    let app = app(&scope, &json!({ "one": absent(), "two": absent() }));
    let main = told(&app, "main");
    assert_eq!(main.as_object().unwrap().keys().collect::<Vec<_>>(), ["one"]);
    assert_eq!(main["one"]["status"]["sidecar"], "one");
    assert_eq!(main["one"]["access"], Value::Null, "nothing runs");
    assert_eq!(told(&app, "other"), json!({}));
}

#[test]
fn a_page_is_told_nothing_if_a_hook_of_the_app_decides_about_its_calls() {
    let isolation = PatternKind::Isolation { dir: "isolation".into() };
    let app = app_with(
        isolation,
        &json!(["pillion:allow-watch", "pillion:allow-connect"]),
        &json!({ "one": absent() }),
    );
    assert_eq!(told(&app, "main"), json!({}));
}

#[test]
fn a_page_that_may_not_watch_is_told_nothing() {
    let app = app(&json!(["pillion:allow-connect"]), &json!({ "one": absent() }));
    assert_eq!(told(&app, "main"), json!({}), "the client needs the status as well");
}

#[cfg(unix)]
#[test]
fn a_page_is_told_how_to_call_a_run_only_if_it_may() {
    use crate::PillionExt as _;

    // Nothing listens there: the app only has to believe that the sidecar is ready.
    let serving = json!({
        "command": "sh", "args": ["-c", "echo port 4242; exec sleep 600"], "ready": { "line": "port (?<port>[0-9]+)" },
        "private": false, "graceMs": 1, "log": false, "exitReports": false
    });
    let mut on_demand = serving.clone();
    on_demand["onDemand"] = json!(true);
    let connect = json!({ "identifier": "pillion:allow-connect", "deny": [{ "sidecar": "denied" }] });
    let sidecars = json!({ "one": serving, "denied": serving, "demanded": on_demand });
    let app = app(&json!(["pillion:allow-watch", connect]), &sidecars);
    let lease = app.pillion().sidecar("demanded").unwrap().lease();
    let ready = async |name| app.pillion().sidecar(name).unwrap().ready().await.unwrap();
    tauri::async_runtime::block_on(async {
        for name in ["one", "denied", "demanded"] {
            ready(name).await;
        }
    });

    let main = told(&app, "main");
    for name in ["one", "denied", "demanded"] {
        assert_eq!(main[name]["status"]["state"], "ready", "{name}");
    }
    assert_eq!(main["one"]["access"]["url"], "http://127.0.0.1:4242");
    assert_eq!(main["one"]["access"]["pid"], main["one"]["status"]["pid"]);
    assert_eq!(main["denied"]["access"], Value::Null);
    assert_eq!(main["demanded"]["access"], Value::Null, "each use needs a lease");
    drop(lease);
    app.pillion().close();
}

#[test]
fn a_page_is_told_of_a_limited_number_of_sidecars() {
    let many: serde_json::Map<_, _> = (0..2 * LIMIT).map(|at| (format!("s{at}"), absent())).collect();
    let app = app(&json!(["pillion:allow-watch"]), &Value::Object(many));
    assert_eq!(told(&app, "main").as_object().unwrap().len(), LIMIT);
}

#[test]
fn the_script_does_nothing_in_a_page_of_another_origin() {
    for (url, condition) in [
        ("tauri://localhost", r#"location.protocol==="tauri:"&&location.host==="localhost"&&"#),
        (
            "http://127.0.0.1:1420/notes?a#b",
            r#"location.protocol==="http:"&&location.host==="127.0.0.1:1420"&&"#,
        ),
        ("https://tauri.localhost/", r#"location.protocol==="https:"&&location.host==="tauri.localhost"&&"#),
    ] {
        let script = script(&BTreeMap::new(), &url.parse().unwrap()).unwrap();
        assert!(script.starts_with(&format!("if({condition}")), "{script}");
    }
}
