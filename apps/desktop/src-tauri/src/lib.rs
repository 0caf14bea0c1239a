//! AIOS: a window on a backend that runs beside it. This crate only wires the parts together.

use tauri::State;
use tauri_plugin_pillion::{Sidecars, pillion::Failure};

/// Waits until the backend is ready, and says on which port of 127.0.0.1.
#[tauri::command]
async fn get_backend_port(sidecars: State<'_, Sidecars>) -> Result<u16, Failure> {
    let backend = sidecars.sidecar("backend")?.ready().await?;
    Ok(backend.port.get())
}

/// Runs the app until its last window is closed.
///
/// # Errors
/// The webview or a plugin could not be started.
pub fn run() -> tauri::Result<()> {
    let builder = tauri::Builder::default().plugin(tauri_plugin_pillion::init());
    #[cfg(feature = "plugin-http")]
    let builder = builder.plugin(tauri_plugin_http::init());
    builder.invoke_handler(tauri::generate_handler![get_backend_port]).run(tauri::generate_context!())
}
