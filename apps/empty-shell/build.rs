//! Hands the build to tauri-build.

fn main() {
    tauri_build::build();
    // `generate_context!` merges what this variable holds into the configuration. Where one build makes several apps,
    // as in crates/bench, that is meant for the others.
    println!("cargo:rustc-env=TAURI_CONFIG={{}}");
}
