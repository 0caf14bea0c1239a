//! A program in Rust and one of a command: what is built, when it is built again, and what is refused.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    thread,
};

use integration_tests::orphans::terminal;
use serde_json::json;

use crate::project::{Project, host};

/// Its sidecar is a worker without a port, which the check of the protocol leaves alone.
fn rust_project() -> Project {
    let project = Project::new(&json!({ "ready": "started", "package": { "rust": "backend" } }));
    project.write(
        "backend/Cargo.toml",
        "[package]\nname = \"server\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n",
    );
    project.write("backend/src/main.rs", "mod word;\nfn main() { println!(\"{}\", word::WORD); }\n");
    project.write("backend/src/word.rs", "pub const WORD: &str = \"first\";\n");
    project
}

#[test]
fn a_rust_program_is_built_once_and_again_after_a_change() {
    let project = rust_project();
    let program = project.program(&host());
    let run = || String::from_utf8(Command::new(&program).output().unwrap().stdout).unwrap();

    let first = project.package(&[]);
    assert_eq!(first.file()["cached"], false);
    assert_eq!(run(), "first\n");
    assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);
    // The build has written the lock file, which is an input, and so did not count.
    project.package(&[]).file();

    let unchanged = project.package(&[]);
    assert_eq!(unchanged.file()["cached"], true, "{unchanged:?}");
    assert_eq!(unchanged.file()["sha256"], first.file()["sha256"]);

    project.write("backend/src/word.rs", "pub const WORD: &str = \"second\";\n");
    let changed = project.package(&[]);
    assert_eq!(changed.file()["cached"], false);
    assert!(changed.file()["reason"].as_str().unwrap().ends_with("word.rs has changed"), "{changed:?}");
    assert_eq!(run(), "second\n");

    fs::remove_file(&program).unwrap();
    assert_eq!(project.package(&[]).file()["cached"], false);
    assert_eq!(run(), "second\n");
}

#[test]
fn the_digests_beside_the_program_are_those_of_sha256sum() {
    let project = Project::new(&worker(&["cp", "/bin/true", "${output}"]));
    project.package(&[]).file();
    let checked = Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(project.path("src-tauri/binaries"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let name = format!("backend-{}: OK\n", host());
    assert_eq!(String::from_utf8(checked.stdout).unwrap(), name);
}

fn worker(command: &[&str]) -> serde_json::Value {
    json!({ "ready": "started", "package": { "command": command } })
}

#[test]
fn without_a_terminal_each_step_is_a_line() {
    let project = Project::new(&worker(&["cp", "/bin/true", "${output}"]));
    let made = project.package(&[]);
    made.file();
    let first = made.stderr.lines().next().unwrap();
    assert!(first.starts_with(&format!("backend for {}: ", host())), "{made:?}");
}

#[test]
fn only_a_field_that_decides_about_the_program_builds_it_again() {
    // A hidden file is no input.
    let command = ["sh", "-c", "echo built >> .builds; cp /bin/true $0", "${output}"];
    let builds = |project: &Project| fs::read_to_string(project.path(".builds")).unwrap().lines().count();
    let project = Project::new(&worker(&command));
    project.package(&[]).file();

    let mut declaration = worker(&command);
    declaration["env"] = json!({ "DATA": "$APPDATA" });
    declaration["restart"] = json!("always");
    project.declare(&declaration);
    let checked_again = project.package(&[]);
    assert_eq!(checked_again.file()["cached"], true, "{checked_again:?}");
    assert_eq!(builds(&project), 1);

    // The check, which now takes place, refuses the program.
    declaration["ready"] = json!("health");
    project.declare(&declaration);
    assert!(project.package(&[]).problem().contains("is not put into place"));

    declaration["ready"] = json!("started");
    declaration["package"]["inputs"] = json!(["src-tauri/tauri.conf.json"]);
    project.declare(&declaration);
    assert_eq!(project.package(&[]).file()["cached"], false);
}

#[test]
fn a_command_gets_the_target_and_must_write_the_program() {
    let project = Project::new(&worker(&["sh", "-c", "echo no program", "${output}"]));
    let silent = project.package(&[]);
    assert!(silent.problem().contains("but wrote no program to"), "{silent:?}");

    let script = "printf '#!/bin/sh\\necho %s\\n' $0 > $1";
    project.declare(&worker(&["sh", "-c", script, "${target}", "${output}"]));
    project.package(&[]).file();
    let printed = Command::new(project.program(&host())).output().unwrap();
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), format!("{}\n", host()));
}

#[test]
fn a_failed_command_leaves_the_old_program() {
    let project = Project::new(&worker(&["cp", "/bin/true", "${output}"]));
    project.package(&[]).file();
    project.declare(&worker(&["sh", "-c", "echo the reason >&2; exit 3", "${output}"]));
    let failed = project.package(&[]);
    assert!(failed.problem().contains("the reason"), "{failed:?}");
    assert!(project.program(&host()).is_file());
}

#[test]
fn a_program_that_breaks_the_protocol_is_not_put_into_place() {
    let project = Project::new(&json!({ "package": { "command": ["cp", "/bin/true", "${output}"] } }));
    let broken = project.package(&[]);
    assert!(broken.problem().contains("is not put into place"), "{broken:?}");
    assert!(!project.program(&host()).exists());
    let unchecked = project.package(&["--no-check"]);
    assert_eq!(unchecked.file()["check"], "not started: --no-check");
    assert!(project.program(&host()).is_file());
}

#[test]
fn a_program_for_another_target_is_an_error() {
    let project = Project::new(&worker(&["cp", "/bin/true", "${output}"]));
    let wrong = project.package(&["--target", "aarch64-apple-darwin"]);
    let problem = wrong.problem();
    assert!(problem.contains("is a program for Linux"), "{problem}");
    assert!(problem.contains("not a program for aarch64-apple-darwin"), "{problem}");
}

#[test]
fn a_target_without_a_standard_library_is_refused_with_the_way() {
    let project = rust_project();
    let refused = project.package(&["--target", "riscv64gc-unknown-linux-gnu"]);
    let problem = refused.problem();
    assert!(problem.contains("rustup target add riscv64gc-unknown-linux-gnu"), "{problem}");
    assert!(problem.contains("`pillion ci github`"), "{problem}");
    assert_eq!(refused.report["problems"][0]["refused"], true);
}

#[test]
fn a_wrong_declaration_is_named_with_its_place() {
    let project = Project::new(&json!({ "package": { "rust": "backend", "go": "backend" } }));
    let wrong = project.package(&[]);
    assert_eq!(wrong.status, 2);
    assert!(wrong.stderr.contains("tauri.conf.json"), "{wrong:?}");
    assert!(
        wrong.stderr.contains("plugins.pillion.sidecars.backend.package: give exactly one of"),
        "{wrong:?}"
    );

    project.declare(&json!({}));
    let without = project.package(&[]);
    assert_eq!(without.status, 2);
    assert!(without.stderr.contains("the sidecar backend does not say how it is built"), "{without:?}");

    project.declare(&json!({ "command": "redis-server" }));
    for names in [&[][..], &["backend"]] {
        let of_system = project.package(names);
        assert_eq!(of_system.status, 2);
        assert!(
            of_system.stderr.contains("the sidecar backend runs the program redis-server of the system"),
            "{of_system:?}"
        );
    }

    let unknown = project.package(&["frontend"]);
    assert_eq!(unknown.status, 2);
    assert!(unknown.stderr.contains("declares no sidecar \"frontend\": it declares backend"), "{unknown:?}");
}

/// What a terminal shows of a build that lasts until the elapsed time was shown.
fn shown_at_a_terminal(variable: (&str, &str)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let wait = "cat \"$1\" && cp /bin/true \"$0\"";
    let project = Project::new(&worker(&["sh", "-c", wait, "${output}", pipe.to_str().unwrap()]));
    let (mut screen, theirs) = terminal().unwrap();
    let mut command = project.command();
    command.env_remove("NO_COLOR").env("TERM", "xterm").env(variable.0, variable.1);
    command.stderr(theirs).stdin(Stdio::null()).stdout(Stdio::null());
    let reader = thread::spawn(move || {
        let (mut shown, mut part, mut waits) = (Vec::new(), [0; 1024], true);
        // The end of a terminal is the error EIO.
        while let Ok(length) = screen.read(&mut part) {
            shown.extend_from_slice(&part[..length]);
            if waits && shown.windows(3).any(|part| part == b" 1s") {
                waits = false;
                fs::write(&pipe, "").unwrap();
            }
        }
        String::from_utf8(shown).unwrap()
    });
    assert!(command.status().unwrap().success());
    drop(command);
    reader.join().unwrap()
}

#[test]
fn a_terminal_shows_the_step_and_its_time_in_one_row() {
    let shown = shown_at_a_terminal(("TERM", "xterm"));
    let host = host();
    assert!(shown.contains(&format!(" 0 of 1: backend for {host}: sh")), "{shown:?}");
    assert!(shown.contains("\u{1b}[33m") && !shown.contains('\n'), "{shown:?}");
    assert!(shown.ends_with("\r\u{1b}[2K"), "the row is cleared at the end: {shown:?}");
    let plain = shown_at_a_terminal(("NO_COLOR", "1"));
    // Without colours, a row still replaces the one before.
    assert!(!plain.contains("\u{1b}[33m") && plain.contains("\r\u{1b}[2K"), "{plain:?}");
}
