//! Servers in Node and Go for this machine, started and checked.

use serde_json::json;

use crate::project::{Project, host, repository};

/// The example with Hono, with its top-level await and its version from package.json.
#[test]
#[ignore = "needs npm and the built SDK: cargo xtask test"]
fn a_node_server_becomes_one_program_that_keeps_the_protocol() {
    let main = repository("examples/hono-backend/src/index.ts");
    let project = Project::new(&json!({ "package": { "node": main } }));
    let packaged = project.package(&[]);
    let check = packaged.file()["check"].as_str().unwrap();
    assert!(check.starts_with("started and checked: it keeps "), "{packaged:?}");
    let program = std::fs::read(project.program(&host())).unwrap();
    assert!(program.starts_with(b"\x7fELF") && program.len() > 50_000_000);
    assert_eq!(project.package(&[]).file()["cached"], true);
}

#[test]
#[ignore = "needs Go: cargo xtask test"]
fn a_go_server_becomes_one_program_that_keeps_the_protocol() {
    let project = Project::new(&json!({ "package": { "go": repository("examples/go-backend") } }));
    let packaged = project.package(&[]);
    let check = packaged.file()["check"].as_str().unwrap();
    assert!(check.starts_with("started and checked: it keeps "), "{packaged:?}");
    assert_eq!(project.package(&[]).file()["cached"], true);
}
