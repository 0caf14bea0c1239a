//! Generates a permission for each command.

const COMMANDS: &[&str] = &["ready", "status", "restart", "swap", "watch", "unwatch"];

fn main() {
    tauri_plugin::Builder::new(COMMANDS).build();
}
