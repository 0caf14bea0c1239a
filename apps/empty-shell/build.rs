//! Runs tauri-build.

fn main() {
    tauri_build::build();
    // `generate_context!` merges this variable into the configuration. In a build of several apps, as in crates/bench, its value
    // is for the others.
    println!("cargo:rustc-env=TAURI_CONFIG={{}}");
}
