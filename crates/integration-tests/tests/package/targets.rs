//! Each runtime for each target that it has: slow, because each needs a download of a hundred megabytes.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::project::{Project, host, repository};

const TARGETS: [&str; 5] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
    "x86_64-pc-windows-msvc",
];

/// Builds for all targets and for the universal one, and looks at the heads of the files. `pillion package` itself has checked the
/// signatures.
fn builds_for_all(project: &Project) {
    let targets: Vec<_> = TARGETS.iter().chain(&["universal-apple-darwin"]).collect();
    let arguments: Vec<_> = targets.iter().flat_map(|target| ["--target", target]).collect();
    let packaged = project.package(&arguments);
    assert_eq!(packaged.status, 0, "{packaged:?}");
    for target in targets {
        let program = fs::read(project.program(target)).unwrap();
        let head: &[u8] = match *target {
            "universal-apple-darwin" => &[0xca, 0xfe, 0xba, 0xbe],
            target if target.contains("darwin") => &[0xcf, 0xfa, 0xed, 0xfe],
            target if target.contains("windows") => b"MZ",
            _ => b"\x7fELF",
        };
        assert!(program.starts_with(head), "{target}");
    }
    let again = project.package(&arguments);
    let files = again.report["files"].as_array().unwrap();
    assert!(files.iter().all(|file| file["cached"] == true), "{again:?}");
}

#[test]
#[ignore = "slow: cargo xtask template-apps"]
fn node_is_packed_for_every_target() {
    let main = repository("examples/hono-backend/src/index.ts");
    builds_for_all(&Project::new(&json!({ "package": { "node": main } })));
}

#[test]
#[ignore = "slow: cargo xtask template-apps"]
fn node_26_packs_itself() {
    let main = repository("examples/hono-backend/src/index.ts");
    let project = Project::new(&json!({ "package": { "node": main, "nodeVersion": "26.10.0" } }));
    let packaged = project.package(&[]);
    let check = packaged.file()["check"].as_str().unwrap();
    assert!(check.starts_with("started and checked: it keeps "), "{packaged:?}");
}

#[test]
#[ignore = "slow: cargo xtask template-apps"]
fn bun_is_packed_for_every_target() {
    let main = repository("examples/hono-backend/src/index.ts");
    builds_for_all(&Project::new(&json!({ "package": { "bun": main } })));
}

#[test]
#[ignore = "slow: cargo xtask template-apps"]
fn go_is_built_for_every_target() {
    // The example uses Unix domain sockets and signals, and does not compile for Windows.
    let project = Project::new(&json!({ "ready": "started", "package": { "go": "backend" } }));
    project.write("backend/go.mod", "module example.org/worker\n\ngo 1.19\n");
    project.write("backend/main.go", "package main\n\nfunc main() { println(\"from Go\") }\n");
    builds_for_all(&project);
}

/// A worker that prints a line: PyInstaller, in a virtual environment beside it.
fn python_project(package: &Value, fields: &Value) -> Project {
    let mut declaration = json!({ "ready": "started", "package": package });
    declaration.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let project = Project::new(&declaration);
    project.write("backend/main.py", "print('from python')\n");
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pyinstaller");
    if !environment.join("bin/pyinstaller").is_file() {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&environment).status().unwrap();
        assert!(made.success());
        let pip = environment.join("bin/pip");
        let installed = Command::new(pip).args(["install", "--quiet", "pyinstaller"]).status().unwrap();
        assert!(installed.success());
    }
    std::os::unix::fs::symlink(environment, project.path("backend/.venv")).unwrap();
    project
}

fn output(program: &Path) -> String {
    String::from_utf8(Command::new(program).output().unwrap().stdout).unwrap()
}

#[test]
#[ignore = "slow: cargo xtask template-apps"]
fn python_is_packed_into_one_file() {
    let project = python_project(&json!({ "python": "backend/main.py" }), &json!({}));
    project.package(&[]).file();
    assert_eq!(output(&project.program(&host())), "from python\n");
    assert_eq!(project.package(&[]).file()["cached"], true);
    let elsewhere = project.package(&["--target", "aarch64-apple-darwin"]);
    assert!(elsewhere.problem().contains("`pillion ci github`"), "{elsewhere:?}");
}

#[test]
#[ignore = "slow: cargo xtask template-apps"]
fn python_is_packed_into_a_folder_of_the_resources() {
    let package = json!({ "python": "backend/main.py", "onedir": true });
    let project = python_project(&package, &json!({ "resource": "backend/backend" }));
    let path = project.path("src-tauri/tauri.conf.json");
    let mut configuration: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    configuration["bundle"] = json!({ "resources": { "binaries/backend/": "backend/" } });
    fs::write(path, configuration.to_string()).unwrap();
    let built = project.package(&[]);
    let of_folder = |name: &str| built.file()["folder"][name].as_u64().unwrap();
    assert!(
        of_folder("files") > 1 && of_folder("bytes") > built.file()["bytes"].as_u64().unwrap(),
        "{built:?}"
    );
    assert_eq!(output(&project.path("src-tauri/binaries/backend/backend")), "from python\n");
    let again = project.package(&[]);
    assert_eq!(again.file()["cached"], true);
    assert_eq!(again.file()["folder"], built.file()["folder"]);
}
