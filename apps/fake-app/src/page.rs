//! Options for tests that use the app's pages. Without these variables, there is one window without permissions.
//!
//! | variable | value |
//! | --- | --- |
//! | `FAKE_APP_SIDECAR` | more fields of the sidecar's declaration, in JSON: `{ "transport": "local" }` |
//! | `FAKE_APP_CSP` | another content security policy |
//! | `FAKE_APP_LOG` | a file, to which the app writes the events of `tracing` |
//! | `FAKE_APP_WINDOWS` | the labels of more windows, separated by commas. `tauri.conf.json` has their permissions |

use std::{env, fs::File};

use serde_json::{Map, Value};
use tauri::{Config, utils::config::Csp};
use tracing_subscriber::filter::LevelFilter;

pub(crate) fn declaration() -> Map<String, Value> {
    env::var("FAKE_APP_SIDECAR").map(|json| serde_json::from_str(&json).unwrap()).unwrap_or_default()
}

pub(crate) fn log() {
    if let Ok(file) = env::var("FAKE_APP_LOG") {
        let file = File::create(file).unwrap();
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(file)
            .init();
    }
}

pub(crate) fn configure(config: &mut Config) {
    if let Ok(policy) = env::var("FAKE_APP_CSP") {
        config.app.security.csp = Some(Csp::Policy(policy));
    }
    let windows = &mut config.app.windows;
    for label in env::var("FAKE_APP_WINDOWS").unwrap_or_default().split_terminator(',') {
        let mut window = windows[0].clone();
        label.clone_into(&mut window.label);
        windows.push(window);
    }
}
