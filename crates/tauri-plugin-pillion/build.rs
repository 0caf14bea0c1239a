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
}
