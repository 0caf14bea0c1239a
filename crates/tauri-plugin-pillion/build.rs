//! Generates a permission for each command, and the JSON schema of the scope entries, which editors use. Names the script for pages
//! without a bundler.

const COMMANDS: &[&str] = &[
    "ready",
    "status",
    "watch",
    "unwatch",
    "connect",
    "logs",
    "exit_reports",
    "usage",
    "diagnose",
    "request",
    "read",
    "write",
    "cancel",
    "restart",
    "swap",
    "stop",
];

/// Under `allow`, limits a permission to this sidecar; under `deny`, excludes the sidecar. Without entries, the permission is for
/// all sidecars.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "Entry")]
#[expect(dead_code, reason = "only its schema is used; src/scope.rs parses the entries")]
struct ScopeEntrySchema {
    /// The sidecar's name in `tauri.conf.json`.
    sidecar: String,
}

fn main() {
    tauri_plugin::Builder::new(COMMANDS)
        .global_scope_schema(schemars::schema_for!(ScopeEntrySchema))
        // The client for pages without a bundler; `npm run bundle:global` writes it.
        .global_api_script_path("./api-iife.js")
        .build();
    link_common_controls();
}

/// Windows does not load a program with Tauri whose manifest does not ask for version 6 of the common controls, which alone exports
/// `TaskDialogIndirect` (<https://github.com/tauri-apps/tauri/issues/13419>). tauri-build gives an app this manifest; the tests of this
/// package are programs, too. Reaches no other package: <https://doc.rust-lang.org/cargo/reference/build-scripts.html#rustc-link-arg>.
fn link_common_controls() {
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("msvc") {
        println!("cargo::rustc-link-arg=/MANIFEST:EMBED");
        println!(
            "cargo::rustc-link-arg=/MANIFESTDEPENDENCY:type='win32' name='Microsoft.Windows.Common-Controls' version='6.0.0.0' \
             processorArchitecture='*' publicKeyToken='6595b64144ccf1df' language='*'"
        );
    }
}
