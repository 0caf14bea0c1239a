//! A Tauri app with the plugin and one sidecar. It is a process of its own, so that a test can kill it. Only its window is missing:
//! the runtime is Tauri's mock.
//!
//! It is this test program again, with the test [`app`] alone. It writes each event as a line of JSON to stdout, between the lines of
//! the test runner, and exits as an app does when its stdin ends.

use std::{
    env,
    io::{self, Read as _, Write as _},
    thread,
};

use pillion::{Events, SidecarEvent, State};
use serde_json::{Value, json};
use tauri::test::{mock_builder, mock_context, noop_assets};
use tauri_plugin_pillion::PillionExt as _;

/// The variable with the section `plugins.pillion`.
pub(crate) const SECTION: &str = "THIRD_PARTY_SECTION";
/// The identifier of the app, which names its data folder.
pub(crate) const IDENTIFIER: &str = "dev.pillion.third-party-servers";
/// The name of the app in the mock of Tauri, which names its resource folder.
pub(crate) const NAME: &str = "test";

#[test]
#[ignore = "the app that the other tests start"]
fn app() {
    if let Ok(section) = env::var(SECTION) {
        run(serde_json::from_str(&section).unwrap());
    }
}

fn run(section: Value) {
    let name = section["sidecars"].as_object().unwrap().keys().next().unwrap().clone();
    let mut context = mock_context(noop_assets());
    context.config_mut().identifier = IDENTIFIER.to_owned();
    context.config_mut().plugins.0.insert("pillion".to_owned(), section);
    let app = mock_builder().plugin(tauri_plugin_pillion::init()).build(context).unwrap();
    let events = app.pillion().sidecar(&name).unwrap().subscribe().unwrap();
    let printer = thread::spawn(move || print(events));
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    app.handle().cleanup_before_exit();
    printer.join().unwrap();
}

/// Prints the events until the sidecar is down.
fn print(mut events: Events) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        while let Some(event) = events.next().await {
            match event {
                SidecarEvent::Status(status) => {
                    write(&json!({ "status": *status }));
                    if matches!(status.state, State::Stopped | State::Failed) {
                        return;
                    }
                }
                SidecarEvent::Output(batch) => {
                    for line in batch.lines() {
                        write(&json!({ "line": line.text() }));
                    }
                }
                SidecarEvent::Notice(notice) => write(&json!({ "notice": notice.to_string() })),
                _ => {}
            }
        }
    });
}

fn write(event: &Value) {
    // The test runner may have written the beginning of a line.
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "\n{event}").unwrap();
    stdout.flush().unwrap();
}
