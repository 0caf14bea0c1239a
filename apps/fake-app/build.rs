//! Hands the build to tauri-build.

fn main() {
    tauri_build::build();
    // `generate_context!` merges what this variable holds into the configuration. Where one build makes several apps,
    // that is meant for the others.
    println!("cargo:rustc-env=TAURI_CONFIG={{}}");
}
