//! A window with one static page: the minimum that a Tauri app does before it shows something. `cargo xtask bench` compares
//! AIOS's start-up time with it. With an argument, the window shows that page instead: the benchmark embeds AIOS's page as well, which
//! then has the same shell.

// Without a console window in a release build on Windows, as in AIOS.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

use std::env;

use tauri::WebviewUrl;

fn main() -> tauri::Result<()> {
    let mut context = tauri::generate_context!();
    if let Some(page) = env::args_os().nth(1) {
        for window in &mut context.config_mut().app.windows {
            window.url = WebviewUrl::App(page.clone().into());
        }
    }
    tauri::Builder::default().run(context)
}
