//! A window whose page calls a sidecar by every possible route, and reports the times: `cargo xtask bench --only routes`.
//! `page/page.js` has the measurements.

mod rejected;
#[cfg(feature = "shell-peer")]
mod shell_peer;

use std::env;

use tauri::{WebviewUrl, WebviewWindowBuilder};

/// The cost of an IPC call alone, which every proxied request includes.
#[tauri::command]
fn nothing() {}

fn main() -> tauri::Result<()> {
    let context = tauri::generate_context!();
    #[cfg(feature = "shell-peer")]
    if shell_peer::is_asked() {
        return shell_peer::run(context);
    }
    // The number of windows.
    let windows = env::args().nth(1).and_then(|number| number.parse().ok()).unwrap_or(1);
    tauri::Builder::default()
        .setup(move |app| {
            // The configuration has the first one.
            for number in 1..windows {
                let window = WebviewWindowBuilder::new(app, format!("more-{number}"), WebviewUrl::default());
                window.inner_size(320.0, 240.0).build()?;
            }
            Ok(())
        })
        .plugin(tauri_plugin_http::init())
        .plugin(tauri_plugin_pillion::init())
        .register_asynchronous_uri_scheme_protocol("whole", rejected::whole)
        .invoke_handler(tauri::generate_handler![nothing, rejected::push])
        .run(context)
}
