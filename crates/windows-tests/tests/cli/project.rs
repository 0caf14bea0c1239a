//! `pillion init`, `doctor` and `package` in the folder of a Tauri project.

use std::{fs, path::Path};

use serde_json::Value;
use windows_tests::run;

use crate::support::{FinishedPillion, Pillion, SIDECAR};

/// The target of a program that Windows runs.
const TARGET: &str = "x86_64-pc-windows-msvc";

/// A Tauri app with a backend for Node.
const FILES: [(&str, &str); 8] = [
    ("src-tauri/tauri.conf.json", "{ \"productName\": \"notes\", \"bundle\": { \"active\": true } }\n"),
    (
        "src-tauri/Cargo.toml",
        "[package]\nname = \"notes\"\nversion = \"1.0.0\"\n\n[dependencies]\ntauri = \"2\"\n",
    ),
    ("src-tauri/build.rs", "fn main() {\n    tauri_build::build()\n}\n"),
    ("src-tauri/src/lib.rs", "pub fn run() {\n    tauri::Builder::default().run(context()).unwrap();\n}\n"),
    (
        "src-tauri/capabilities/default.json",
        "{ \"identifier\": \"default\", \"windows\": [\"main\"], \"permissions\": [\"core:default\"] }\n",
    ),
    ("package.json", "{ \"name\": \"notes\", \"dependencies\": {} }\n"),
    ("backend/package.json", "{ \"name\": \"api\", \"dependencies\": {} }\n"),
    ("backend/src/index.ts", "serve();\n"),
];

fn app(change: impl Fn(&str) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, change(text)).unwrap();
    }
    folder
}

async fn pillion(folder: &Path, arguments: &str) -> FinishedPillion {
    let project = ["--project", folder.to_str().unwrap()];
    Pillion::start(arguments.split(' ').chain(project)).end().await
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn init_adds_the_plugin_and_the_backend_and_a_second_run_changes_nothing() {
    run(async {
        // As Git checks texts out on Windows by default.
        for end_of_line in ["\n", "\r\n"] {
            let folder = app(|text| text.replace('\n', end_of_line));
            let first = pillion(folder.path(), "init --yes --backend-dir BACKEND").await;
            assert_eq!(first.status, 2, "no such folder: {}", first.stdout);
            let backend = folder.path().join("backend");
            let arguments = ["init", "--yes", "--project", folder.path().to_str().unwrap(), "--backend-dir"];
            let arguments = || arguments.into_iter().chain([backend.to_str().unwrap()]);
            let first = Pillion::start(arguments()).end().await;
            assert_eq!(first.status, 0, "{}{}", first.stdout, first.stderr);
            let code = read(folder.path(), "src-tauri/src/lib.rs");
            for line in
                ["tauri_plugin_pillion::guard::run_if_asked();", ".plugin(tauri_plugin_pillion::init())"]
            {
                assert!(code.contains(line), "{code}");
            }
            assert_eq!(code.matches('\n').count(), code.matches(end_of_line).count(), "{code:?}");
            let config: Value =
                serde_json::from_str(&read(folder.path(), "src-tauri/tauri.conf.json")).unwrap();
            let declared = &config["plugins"]["pillion"]["sidecars"];
            let text = declared.to_string();
            assert!(
                declared.is_object() && text.contains("backend/src/index.ts") && !text.contains('\\'),
                "{text}"
            );

            let files = FILES.map(|(name, _)| read(folder.path(), name));
            let second = Pillion::start(arguments()).end().await;
            assert_eq!(second.status, 0, "{}{}", second.stdout, second.stderr);
            assert_eq!(files, FILES.map(|(name, _)| read(folder.path(), name)));
        }
    });
}

#[test]
fn doctor_finds_a_program_for_another_system() {
    run(async {
        let folder = app(str::to_owned);
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        let config = r#"{ "bundle": { "externalBin": ["binaries/demo-api"] },
                          "plugins": { "pillion": { "sidecars": { "api": { "program": "demo-api" } } } } }"#;
        write("src-tauri/tauri.conf.json", config.as_bytes());
        write(
            "src-tauri/Cargo.toml",
            b"[package]\nname = \"demo\"\nversion = \"0.1.0\"\n[dependencies]\ntauri-plugin-pillion = \"0.1\"\n",
        );
        write(
            "src-tauri/src/lib.rs",
            b"fn run() { tauri_plugin_pillion::guard::run_if_asked(); tauri_plugin_pillion::init(); }",
        );
        write("src-tauri/.taurignore", b"/binaries/\n");
        let program = format!("src-tauri/binaries/demo-api-{TARGET}.exe");
        let doctor = format!("doctor --json --no-machine --target {TARGET}");
        let findings = async || {
            let ended = pillion(folder.path(), &doctor).await;
            let report: Value =
                serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr));
            (ended.status, report)
        };
        let (status, absent) = findings().await;
        assert_eq!(status, 1, "{absent}");
        write(&program, &fs::read(SIDECAR).unwrap());
        let (status, none) = findings().await;
        assert_eq!((status, &none["findings"]), (0, &Value::Array(vec![])), "{none}");
        write(&program, b"\x7fELF\x02\x01\x01");
        let (status, wrong) = findings().await;
        assert_eq!(status, 1, "{wrong}");
        // The machine as well: whatever it finds here, it answers.
        let machine = pillion(folder.path(), &format!("doctor --json --target {TARGET}")).await;
        assert!(serde_json::from_str::<Value>(&machine.stdout).is_ok(), "{}", machine.stderr);
    });
}

#[test]
fn package_runs_a_command_and_puts_its_program_into_place_once() {
    run(async {
        let folder = app(str::to_owned);
        // With a drive and backslashes, even if Cargo ran on another system.
        let built = std::path::absolute(SIDECAR).unwrap();
        let config = serde_json::json!({
            "productName": "notes",
            "bundle": { "externalBin": ["binaries/api"] },
            "plugins": { "pillion": { "sidecars": { "api": {
                "program": "api",
                "package": { "command": ["cmd", "/d", "/c", "copy", built, "${output}"] },
            } } } },
        });
        fs::write(folder.path().join("src-tauri/tauri.conf.json"), config.to_string()).unwrap();
        let arguments = format!("package --json --no-check --target {TARGET}");
        let ended = pillion(folder.path(), &arguments).await;
        assert_eq!(ended.status, 0, "{}{}", ended.stdout, ended.stderr);
        let program = folder.path().join(format!("src-tauri/binaries/api-{TARGET}.exe"));
        assert!(fs::read(&program).unwrap() == fs::read(SIDECAR).unwrap());
        let again = pillion(folder.path(), &arguments).await;
        assert_eq!(again.status, 0, "{}{}", again.stdout, again.stderr);
    });
}

#[test]
fn package_prefers_the_python_that_its_installer_makes() {
    run(async {
        let folder = app(str::to_owned);
        let tools = tempfile::tempdir().unwrap();
        for name in ["python.exe", "python3.exe"] {
            fs::copy(SIDECAR, tools.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("main.py"), "").unwrap();
        let config = serde_json::json!({
            "productName": "notes",
            "bundle": { "externalBin": ["binaries/api"] },
            "plugins": { "pillion": { "sidecars": { "api": {
                "program": "api",
                "package": { "python": "main.py" },
            } } } },
        });
        fs::write(folder.path().join("src-tauri/tauri.conf.json"), config.to_string()).unwrap();
        let project = folder.path().to_str().unwrap();
        let arguments = ["package", "--no-check", "--target", TARGET, "--project", project];
        let ended = Pillion::start_with_path(arguments, tools.path()).end().await;
        // It is no Python, and fails.
        let said = ended.stdout + &ended.stderr;
        assert!(said.contains(r"\python.exe"), "{said}");
    });
}
