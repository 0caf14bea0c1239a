//! AIOS: a window on a backend that runs beside it. This crate only wires the parts together.

use tauri::{AppHandle, Manager as _, State};
use tauri_plugin_pillion::{Sidecars, pillion::Failure};

/// Waits until the backend is ready, and says on which port of 127.0.0.1; refused where it is on a socket.
#[tauri::command]
async fn get_backend_port(sidecars: State<'_, Sidecars>) -> Result<u16, Failure> {
    let backend = sidecars.sidecar("backend")?.ready().await?;
    Ok(backend.tcp_port()?.get())
}

/// Brings the window to whoever has launched the app again.
fn show(app: &AppHandle) {
    if let Some(window) = app.get_webview_window("main") {
        // A window that is just being closed cannot be shown, and need not be.
        let _ = window.show().and_then(|()| window.unminimize()).and_then(|()| window.set_focus());
    }
}

/// Runs the app until its last window is closed.
///
/// # Errors
/// The webview or a plugin could not be started.
pub fn run() -> tauri::Result<()> {
    tauri::Builder::default()
        // First: a second launch ends in its set-up, before anything is started that would have to be stopped.
        .plugin(tauri_plugin_single_instance::init(|app, _arguments, _folder| show(app)))
        .plugin(tauri_plugin_pillion::init())
        .invoke_handler(tauri::generate_handler![get_backend_port])
        .run(tauri::generate_context!())
}
