//! A window with one static page: the least that any Tauri app of this workspace has to do before it can show
//! something, and so what `cargo xtask bench` sets AIOS's start beside.

// As in AIOS: a release build on Windows is a window, not a console.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

fn main() -> tauri::Result<()> {
    tauri::Builder::default().run(tauri::generate_context!())
}
