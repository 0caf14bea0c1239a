//! The program of AIOS. All of its code is in the library.

// Without a console window in a release build on Windows.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

fn main() -> tauri::Result<()> {
    aios_lib::run()
}
