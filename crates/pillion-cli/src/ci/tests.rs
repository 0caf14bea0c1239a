use std::collections::BTreeSet;

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
    write("app/package.json", "{ \"devDependencies\": { \"@tauri-apps/cli\": \"^2\" } }");
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

/// The first version of each action that runs on Node 24: GitHub's machines have removed Node 20 (`runs.using` in each `action.yml`;
/// <https://github.blog/changelog/2025-09-19-deprecation-of-node-20-on-github-actions-runners/>). setup-bun moved within its version 2.
const ON_NODE_24: [(&str, u32); 7] = [
    ("actions/checkout", 5),
    ("actions/setup-go", 6),
    ("actions/setup-node", 5),
    ("actions/setup-python", 6),
    ("actions/upload-artifact", 6),
    ("oven-sh/setup-bun", 2),
    ("pnpm/action-setup", 5),
];

#[test]
fn each_action_runs_on_a_node_that_github_has() {
    let declared = r#"{ "go": { "program": "demo-go", "package": { "go": "go" } },
                        "node": { "program": "demo-node", "package": { "node": "node/main.ts" } },
                        "bun": { "program": "demo-bun", "package": { "bun": "bun/main.ts" } },
                        "python": { "program": "demo-python", "package": { "python": "python/main.py" } } }"#;
    let text = workflow(&repository("app/pnpm-lock.yaml", declared), &["x86_64-unknown-linux-gnu"]);
    let mut used = BTreeSet::new();
    for action in text.lines().filter_map(|line| line.split_once("uses: ").map(|(_, action)| action)) {
        let (name, version) = action.split_once("@v").unwrap();
        let (_, first) = ON_NODE_24.iter().find(|(known, _)| *known == name).unwrap();
        assert!(version.parse::<u32>().unwrap() >= *first, "{action} runs on Node 20");
        used.insert(name);
    }
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ON_NODE_24.map(|(name, _)| name));
}

#[test]
fn cargo_installs_the_command_of_tauri_if_the_page_does_not_bring_it() {
    let declared = r#"{ "api": { "program": "demo-api" } }"#;
    let folder = repository("app/package-lock.json", declared);
    let brought = workflow(&folder, &["x86_64-unknown-linux-gnu"]);
    assert!(!brought.contains("cargo install tauri-cli") && brought.contains("npx tauri build"), "{brought}");
    // `npx tauri` would run another package.
    fs::write(folder.path().join("app/package.json"), r#"{ "devDependencies": { "vite": "8" } }"#).unwrap();
    let own = workflow(&folder, &["x86_64-unknown-linux-gnu"]);
    assert!(own.contains("cargo install tauri-cli") && own.contains("cargo tauri build"), "{own}");
    assert!(own.contains("npm ci") && !own.contains("npx tauri"), "{own}");
}

#[test]
fn a_page_of_deno_is_installed_and_bundled_by_deno() {
    let declared = r#"{ "api": { "program": "demo-api" } }"#;
    let text = workflow(&repository("app/deno.lock", declared), &["x86_64-unknown-linux-gnu"]);
    for part in ["npm install --global deno@2", "run: deno install --frozen", "deno task tauri build"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn deno_comes_from_npm_and_its_programs_stay_out_of_an_app_image() {
    let declared =
        r#"{ "api": { "program": "demo-api", "dev": { "command": ["deno", "run", "-A", "main.ts"] } } }"#;
    let text = workflow(&repository("app/package-lock.json", declared), &["x86_64-unknown-linux-gnu"]);
    let (node, deno) = (text.find("setup-node").unwrap(), text.find("npm install --global deno@2").unwrap());
    assert!(node < deno, "{text}");
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
    let found = workflow::installs(&project, &project.config.on(crate::project::Platform::host()));
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
fn pnpm_has_the_version_of_the_package() {
    let declared = r#"{ "api": { "program": "demo-api", "package": { "node": "backend/src/main.ts" } } }"#;
    let latest = workflow(&repository("app/pnpm-lock.yaml", declared), &["x86_64-unknown-linux-gnu"]);
    assert!(latest.contains("pnpm/action-setup@v6\n        with:\n          version: latest"), "{latest}");
    let folder = repository("app/package-lock.json", declared);
    fs::create_dir_all(folder.path().join("app/backend")).unwrap();
    fs::write(folder.path().join("app/backend/package.json"), r#"{ "packageManager": "pnpm@10.0.0" }"#)
        .unwrap();
    fs::write(folder.path().join("app/backend/pnpm-lock.yaml"), "").unwrap();
    let text = workflow(&folder, &["x86_64-unknown-linux-gnu"]);
    assert!(text.contains("with:\n          package_json_file: \"app/backend/package.json\"\n"), "{text}");
    assert!(!text.contains("version: latest"), "{text}");
}

#[test]
fn a_backend_gets_its_package_manager() {
    let declared = r#"{ "api": { "program": "demo-api", "package": { "node": "backend/src/main.ts" } } }"#;
    for (lock, parts) in [
        ("bun.lock", ["oven-sh/setup-bun", "run: bun install --frozen-lockfile"]),
        ("yarn.lock", ["working-directory: \"app/backend\"", "run: yarn install"]),
    ] {
        let folder = repository("app/package-lock.json", declared);
        fs::create_dir_all(folder.path().join("app/backend")).unwrap();
        fs::write(folder.path().join("app/backend/package.json"), "{}").unwrap();
        fs::write(folder.path().join("app/backend").join(lock), "").unwrap();
        let text = workflow(&folder, &["x86_64-unknown-linux-gnu"]);
        for part in parts {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}

#[test]
fn a_page_in_a_folder_is_installed_there() {
    let folder = repository("app/ui/package-lock.json", r#"{ "api": { "program": "demo-api" } }"#);
    let ui = folder.path().join("app/ui");
    fs::rename(folder.path().join("app/package.json"), ui.join("package.json")).unwrap();
    let config = folder.path().join("app/src-tauri/tauri.conf.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replacen('{', r#"{ "build": { "frontendDist": "../ui/dist" }, "#, 1)).unwrap();
    let text = workflow(&folder, &["x86_64-unknown-linux-gnu"]);
    assert!(text.contains("working-directory: \"app/ui\"\n        run: npm ci\n"), "{text}");
    assert!(text.contains("run: \"'./ui/node_modules/.bin/tauri' build --target"), "{text}");
    // A scalar of YAML that begins with a quote ends with it.
    assert!(!text.contains("run: '"), "{text}");
}

#[test]
fn app_image_is_left_out_for_node_alone_and_kept_whole_for_the_updater() {
    let node = r#"{ "api": { "program": "demo-api", "package": { "node": "main.ts" } } }"#;
    let text = workflow(&repository("app/package-lock.json", node), &["x86_64-unknown-linux-gnu"]);
    for part in [
        "run: echo 'BUNDLES=--bundles deb,rpm' >> \"$GITHUB_ENV\"",
        "${SIGNING:-} ${BUNDLES:-}",
        "pillion doctor --no-machine --ignore appimage-strip --target",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let folder = repository("app/package-lock.json", node);
    let config = folder.path().join("app/src-tauri/tauri.conf.json");
    let mut updates: serde_json::Value = serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
    updates["bundle"]["createUpdaterArtifacts"] = true.into();
    fs::write(&config, updates.to_string()).unwrap();
    let text = workflow(&folder, &["x86_64-unknown-linux-gnu"]);
    let (set, doctor) = (text.find("'NO_STRIP=true'"), text.find("pillion doctor --no-machine --target"));
    assert!(set.is_some() && set < doctor, "{text}");
    assert!(!text.contains("BUNDLES") && !text.contains("appimage-strip"), "{text}");
    let go = node.replace("node", "go");
    let text = workflow(&repository("app/package-lock.json", &go), &["x86_64-unknown-linux-gnu"]);
    assert!(!text.contains("BUNDLES") && !text.contains("appimage-strip"), "{text}");
}

#[test]
fn a_sidecar_with_arguments_or_variables_is_not_checked() {
    for field in [r#""args": ["--serve"]"#, r#""env": { "MODE": "serve" }"#] {
        let declared = format!(r#"{{ "api": {{ "program": "demo-api", {field} }} }}"#);
        let text = workflow(&repository("app/package-lock.json", &declared), &["x86_64-unknown-linux-gnu"]);
        assert!(!text.contains("pillion check"), "{text}");
    }
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
