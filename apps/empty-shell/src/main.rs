//! A window with one static page: the minimum that a Tauri app does before it shows something. `cargo xtask bench` compares
//! AIOS's start-up time with it.

// Without a console window in a release build on Windows, as in AIOS.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

fn main() -> tauri::Result<()> {
    tauri::Builder::default().run(tauri::generate_context!())
}
