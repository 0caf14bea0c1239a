use tempfile::TempDir;

use super::*;

/// A repository with an app below `app`, whose page is managed by this program.
fn repository(lock: &str, sidecars: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    fs::create_dir(folder.path().join(".git")).unwrap();
    write(
        "app/src-tauri/tauri.conf.json",
        &format!(
            r#"{{ "bundle": {{ "active": true, "externalBin": ["binaries/demo-api"] }},
                 "plugins": {{ "pillion": {{ "sidecars": {sidecars} }} }} }}"#
        ),
    );
    write("app/src-tauri/Cargo.toml", "[package]\nname = \"demo\"\nversion = \"0.1.0\"\n");
    write("app/package.json", "{ \"name\": \"demo\" }");
    write(lock, "");
    folder
}

fn workflow(folder: &TempDir, targets: &[&str]) -> String {
    let project = Project::find(&folder.path().join("app")).unwrap();
    let runners = targets.iter().map(|target| targets::runner(target).unwrap()).collect();
    Workflow::of(&project, folder.path(), runners, "main".to_owned(), None).unwrap().to_string()
}

#[test]
fn the_workflow_builds_checks_and_bundles() {
    let folder = repository(
        "app/package-lock.json",
        r#"{ "api": { "program": "demo-api", "dev": { "command": ["npx", "tsx", "main.ts"] } } }"#,
    );
    let text = workflow(&folder, &["x86_64-unknown-linux-gnu", "universal-apple-darwin"]);
    for part in [
        "          - target: universal-apple-darwin\n            runner: macos-latest\n",
        "working-directory: \"app\"",
        "run: npm ci",
        "run: pillion package --target '${{ matrix.target }}'",
        "pillion check --musts -- './src-tauri/binaries/demo-api-${{ matrix.target }}'",
        "npx tauri build --target '${{ matrix.target }}'",
        "app/src-tauri/target/${{ matrix.target }}/release/bundle/deb/*.deb",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("windows-latest") && !text.contains('\t'), "{text}");
    // Each step begins in the same column.
    let steps =
        text.lines().filter(|line| line.trim_start().starts_with("- name: ") || line.contains("- uses: "));
    assert!(steps.clone().count() > 8 && steps.clone().all(|line| line.starts_with("      - ")), "{text}");
}

#[test]
fn package_managers_and_toolchains_are_those_of_the_project() {
    let python = r#"{ "api": { "program": "demo-api", "private": false, "dev": { "command": ["uv", "run", "main.py"] } } }"#;
    let text = workflow(&repository("app/pnpm-lock.yaml", python), &["x86_64-unknown-linux-gnu"]);
    for part in [
        "pnpm install --frozen-lockfile",
        "pnpm exec tauri build",
        "setup-python",
        "pillion check --musts --public",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn the_packages_of_the_backends_are_installed() {
    let declared = r#"{ "api": { "program": "demo-api", "package": { "node": "backend/src/main.ts" } },
                        "ml": { "program": "demo-ml", "package": { "python": "ml/main.py" } } }"#;
    let folder = repository("app/package-lock.json", declared);
    for file in ["app/backend/package.json", "app/backend/package-lock.json", "app/ml/requirements.txt"] {
        fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
        fs::write(folder.path().join(file), "").unwrap();
    }
    let project = Project::find(&folder.path().join("app")).unwrap();
    let found = github::installs(&project, &project.config.on(crate::project::Platform::host()));
    let install = |folder: &str, command: &str| (folder.to_owned(), command.to_owned());
    assert_eq!(
        found,
        [
            install("backend", "npm ci"),
            install("ml", "python3 -m pip install pyinstaller -r requirements.txt")
        ]
    );
}

#[test]
fn a_server_without_the_protocol_is_not_checked() {
    let declared = r#"{ "api": { "program": "demo-api", "private": false, "port": 8080, "ready": "tcp" } }"#;
    let text = workflow(&repository("app/package-lock.json", declared), &["x86_64-unknown-linux-gnu"]);
    assert!(!text.contains("pillion check"), "{text}");
}

#[test]
fn each_secret_is_in_a_step_that_is_skipped_without_it() {
    let declared = r#"{ "api": { "program": "demo-api" } }"#;
    let text = workflow(&repository("app/package-lock.json", declared), &["x86_64-pc-windows-msvc"]);
    for step in
        text.split("      - ").filter(|step| step.contains("secrets.") && step.contains("env:")).skip(1)
    {
        let guarded =
            step.contains("env.SIGN_MACOS == 'true'") || step.contains("env.SIGN_WINDOWS == 'true'");
        assert!(guarded, "{step}");
    }
}

#[test]
fn an_existing_file_is_kept_unless_it_is_forced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a/b.yml");
    let status = |text: &str, force| format!("{:?}", write(&file, text, force).unwrap());
    let (success, failure) = (format!("{:?}", ExitCode::SUCCESS), format!("{:?}", ExitCode::FAILURE));
    assert_eq!(status("one", false), success);
    assert_eq!(status("one", false), success);
    assert_eq!(status("two", false), failure);
    assert_eq!(fs::read_to_string(&file).unwrap(), "one");
    assert_eq!(status("two", true), success);
    assert_eq!(fs::read_to_string(&file).unwrap(), "two");
}

#[test]
fn a_target_without_a_machine_is_refused() {
    let error = targets::runner("x86_64-pc-windows-gnu").unwrap_err();
    assert!(error.contains("x86_64-pc-windows-msvc"), "{error}");
}
