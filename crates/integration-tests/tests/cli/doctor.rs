//! `pillion doctor`, `pillion ci` and `pillion completions` as their users see them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use integration_tests::run;
use serde_json::Value;

use crate::support::{FinishedPillion, PILLION, Pillion, tree};

/// A project whose only sidecar may not be executed.
fn project(folder: &Path) {
    let write = |path: &str, text: &[u8]| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let config = r#"{ "bundle": { "externalBin": ["binaries/demo-api"] },
                      "plugins": { "pillion": { "sidecars": { "api": { "program": "demo-api" } } } } }"#;
    write("src-tauri/tauri.conf.json", config.as_bytes());
    let manifest =
        "[package]\nname = \"demo\"\nversion = \"0.1.0\"\n[dependencies]\ntauri-plugin-pillion = \"0.1\"\n";
    write("src-tauri/Cargo.toml", manifest.as_bytes());
    write(
        "src-tauri/src/lib.rs",
        b"fn run() { tauri_plugin_pillion::guard::run_if_asked(); tauri_plugin_pillion::init(); }",
    );
    write("src-tauri/.taurignore", b"/binaries/\n");
    let file = format!("src-tauri/binaries/demo-api-{}-unknown-linux-gnu", std::env::consts::ARCH);
    write(&file, &fs::read(PILLION).unwrap());
    fs::set_permissions(folder.join(file), fs::Permissions::from_mode(0o644)).unwrap();
}

async fn doctor(folder: &Path, options: &[&str]) -> FinishedPillion {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let always = ["doctor", "--no-machine", "--target", &target, "--project", folder.to_str().unwrap()];
    Pillion::start(&tree(), always.iter().chain(options)).end().await
}

#[test]
fn a_finding_is_status_1_until_it_is_fixed_or_ignored() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        project(folder.path());
        let ended = doctor(folder.path(), &[]).await;
        let text = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.status, 1, "{text}{}", ended.stderr);
        assert!(text.contains("error exec-bit: ") && text.contains("mode 0644"), "{text}");
        // Into a pipe, without colours.
        assert!(!text.contains('\u{1b}') && ended.stderr.is_empty(), "{text}{}", ended.stderr);

        let ended = doctor(folder.path(), &["--json"]).await;
        let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!((ended.status, &report["findings"][0]["id"]), (1, &"exec-bit".into()), "{report}");
        assert_eq!(report["findings"].as_array().map(Vec::len), Some(1), "{report}");

        let ended = doctor(folder.path(), &["--ignore", "exec-bit"]).await;
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        let ended = doctor(folder.path(), &["--fix"]).await;
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        assert!(String::from_utf8(ended.stdout).unwrap().contains("fixed exec-bit"));
        assert_eq!(doctor(folder.path(), &["--strict"]).await.status, 0);
    });
}

#[test]
fn what_cannot_be_checked_is_status_2() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let ended = doctor(folder.path(), &[]).await;
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        assert!(ended.stderr.contains("found no Tauri app"), "{}", ended.stderr);
        project(folder.path());
        let ended = doctor(folder.path(), &["--ignore", "exec-bits"]).await;
        assert!(ended.status == 2 && ended.stderr.contains("not one of declaration, "), "{}", ended.stderr);
        let ended = doctor(folder.path(), &["--target", "linux"]).await;
        assert!(ended.status == 2 && ended.stderr.contains("not a target triple"), "{}", ended.stderr);
    });
}

#[test]
fn a_workflow_is_written_once_and_printed_by_a_dry_run() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        project(folder.path());
        let path = folder.path().to_str().unwrap();
        let ci = async |options: &[&str]| {
            let always = ["ci", "github", "--project", path];
            Pillion::start(&tree(), always.iter().chain(options)).end().await
        };
        let printed = ci(&["--dry-run"]).await;
        assert_eq!(printed.status, 0, "{}", printed.stderr);
        let file = folder.path().join(".github/workflows/bundle.yml");
        assert!(!file.exists());
        assert_eq!(ci(&[]).await.status, 0);
        assert_eq!(fs::read(&file).unwrap(), printed.stdout);
        assert_eq!(ci(&[]).await.status, 0);
        fs::write(&file, "mine").unwrap();
        let refused = ci(&[]).await;
        assert!(refused.status == 1 && refused.stderr.contains("--force"), "{}", refused.stderr);
        assert_eq!(ci(&["--force"]).await.status, 0);
        assert_eq!(fs::read(&file).unwrap(), printed.stdout);
    });
}

#[test]
fn completions_and_man_pages_are_written() {
    run(async {
        let ended = Pillion::start(&tree(), ["completions", "bash"]).end().await;
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        assert!(String::from_utf8(ended.stdout).unwrap().contains("complete -F _pillion"));
        let folder = tempfile::tempdir().unwrap();
        let ended = Pillion::start(&tree(), ["man", folder.path().to_str().unwrap()]).end().await;
        assert!(ended.status == 0 && folder.path().join("pillion-doctor.1").is_file(), "{}", ended.stderr);
    });
}
