//! Generates a permission for each command, and what an editor knows of their scopes.

const COMMANDS: &[&str] = &[
    "ready", "status", "watch", "unwatch", "connect", "logs", "request", "read", "cancel", "restart", "swap",
    "stop",
];

/// Narrows a permission to a sidecar, or, under `deny`, takes one out of it. Without any, it is for all sidecars.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "only its schema is used; src/scope.rs reads it")]
struct Entry {
    /// The sidecar's name in `tauri.conf.json`.
    sidecar: String,
}

fn main() {
    tauri_plugin::Builder::new(COMMANDS).global_scope_schema(schemars::schema_for!(Entry)).build();
}
