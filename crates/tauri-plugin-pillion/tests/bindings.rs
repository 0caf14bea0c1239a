//! The TypeScript types are those of Rust: `PILLION_WRITE_BINDINGS=1 cargo test -p tauri-plugin-pillion` writes them.

use std::{env, fs, path::Path};

use pillion::{Access, Detail, Endpoint, Exit, Failure, FailureKind, Log, State, Status};
use ts_rs::{Config, TS};

fn bindings() -> String {
    let config = Config::default();
    let declarations = [
        State::decl(&config),
        Exit::decl(&config),
        FailureKind::decl(&config),
        Detail::decl(&config),
        Failure::decl(&config),
        Status::decl(&config),
        Endpoint::decl(&config),
        Access::decl(&config),
        Log::decl(&config),
    ];
    let types: String = declarations.iter().map(|declaration| format!("\nexport {declaration}\n")).collect();
    format!(
        "// Generated from Rust by tests/bindings.rs. What crosses the boundary between app and page.\n{types}"
    )
}

#[test]
fn the_typescript_types_are_those_of_rust() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-js/bindings.ts");
    if env::var_os("PILLION_WRITE_BINDINGS").is_some() {
        fs::write(&file, bindings()).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(written, bindings(), "guest-js/bindings.ts is out of date: see the head of this file");
}
