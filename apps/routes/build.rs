//! Hands the build to tauri-build.

fn main() {
    tauri_build::build();
}
