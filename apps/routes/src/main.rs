//! A window whose page calls a sidecar by each way there is, and tells how long that took: `cargo xtask bench --only routes`.
//! What is timed is in `page/page.js`.

mod rejected;

/// What every request by way of the app pays at least.
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
