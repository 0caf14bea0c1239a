//! The control socket of an app with the plugin.

#![cfg_attr(feature = "control", expect(clippy::unwrap_used, reason = "test code"))]
#![cfg(feature = "control")]

use pillion_control::{ControlLevel, DiscoveredApp, discover};
use serde_json::json;
use tauri::{
    App,
    test::{MockRuntime, mock_builder, mock_context, noop_assets},
};
use tauri_plugin_pillion::PillionExt as _;

/// An app with this value of `control`, if any.
fn app(control: Option<serde_json::Value>) -> App<MockRuntime> {
    let mut context = mock_context(noop_assets());
    context.config_mut().product_name = Some("Notes".to_owned());
    context.config_mut().identifier = "com.example.notes".to_owned();
    let mut section = json!({ "sidecars": { "backend": { "program": "absent" } } });
    if let Some(control) = control {
        section["control"] = control;
    }
    context.config_mut().plugins.0.insert("pillion".to_owned(), section);
    mock_builder().plugin(tauri_plugin_pillion::init()).build(context).unwrap()
}

/// What other programs find of this process.
fn found() -> Option<DiscoveredApp> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let apps = runtime.block_on(discover()).apps;
    apps.into_iter().find(|app| app.info().pid == std::process::id())
}

#[test]
fn other_programs_find_the_app_until_it_closes_its_sidecars_unless_it_says_no() {
    for (control, level) in [
        (None, Some(ControlLevel::Read)),
        (Some(json!("full")), Some(ControlLevel::Full)),
        (Some(json!(false)), None),
    ] {
        let app = app(control);
        let found_app = found();
        assert_eq!(found_app.as_ref().map(DiscoveredApp::control), level);
        if let Some(found) = found_app {
            assert_eq!(found.info().name, "Notes");
            assert_eq!(found.info().identifier.as_deref(), Some("com.example.notes"));
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let statuses = runtime.block_on(found.statuses(None)).unwrap();
            assert_eq!(statuses.len(), 1);
            assert_eq!(statuses[0].sidecar, "backend");
        }
        app.pillion().close();
        assert!(found().is_none(), "the socket goes with the sidecars");
    }
}
