//! AIOS, the program. Everything is in the library beside it.

// A release build on Windows is a window, not a console.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

fn main() -> tauri::Result<()> {
    aios_lib::run()
}
