//! A window whose page calls a sidecar by every possible route, and reports the times: `cargo xtask bench --only routes`.
//! `page/page.js` has the measurements.

mod rejected;

/// The cost of an IPC call alone, which every proxied request includes.
#[tauri::command]
fn nothing() {}

fn main() -> tauri::Result<()> {
    tauri::Builder::default()
        .plugin(tauri_plugin_http::init())
        .plugin(tauri_plugin_pillion::init())
        .register_asynchronous_uri_scheme_protocol("whole", rejected::whole)
        .invoke_handler(tauri::generate_handler![nothing, rejected::push])
        .run(tauri::generate_context!())
}
