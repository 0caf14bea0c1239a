//! AIOS: a desktop app with a backend that runs as a sidecar. This crate only wires the parts together.

use tauri::{AppHandle, Manager as _, State};
use tauri_plugin_pillion::{Sidecars, pillion::Failure};

/// Waits until the backend is ready, and returns its port on 127.0.0.1. Fails if the backend has no port.
#[tauri::command]
async fn get_backend_port(sidecars: State<'_, Sidecars>) -> Result<u16, Failure> {
    let backend = sidecars.sidecar("backend")?.ready().await?;
    Ok(backend.tcp_port()?.get())
}

/// Shows the window of the running app after a second launch.
fn show(app: &AppHandle) {
    if let Some(window) = app.get_webview_window("main") {
        // An error means that the window is just being closed.
        let _ = window.show().and_then(|()| window.unminimize()).and_then(|()| window.set_focus());
    }
}

/// Runs the app until its last window is closed.
///
/// # Errors
/// If the webview or a plugin cannot be started.
pub fn run() -> tauri::Result<()> {
    // First: this program may have been started as the guard of a killed app's backend.
    tauri_plugin_pillion::guard::run_if_asked();
    tauri::Builder::default()
        // Registered first, so that a second launch ends before it starts a sidecar.
        .plugin(tauri_plugin_single_instance::init(|app, _arguments, _folder| show(app)))
        .plugin(tauri_plugin_pillion::init())
        .invoke_handler(tauri::generate_handler![get_backend_port])
        .run(tauri::generate_context!())
}
