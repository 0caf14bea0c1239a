//! Generates the TypeScript types from the Rust types. `cargo xtask codegen` writes them.

use std::{env, fs, path::Path};

use pillion::{Access, Detail, Endpoint, Exit, Failure, FailureKind, Log, Readiness, State, Status};
use ts_rs::{Config, TS};

fn bindings() -> String {
    let config = Config::default();
    let declarations = [
        State::decl(&config),
        Readiness::decl(&config),
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
        "// Generated from Rust by tests/bindings.rs (`cargo xtask codegen`): the values that the app sends to the page.\n{types}"
    )
}

#[test]
fn generated_bindings_are_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-js/bindings.ts");
    if env::var_os("PILLION_CODEGEN").is_some() {
        fs::write(&file, bindings()).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(written, bindings(), "guest-js/bindings.ts is out of date: run `cargo xtask codegen`");
}
