//! An app and a server that are two packages of one workspace, and a server whose framework has its own way to start.

use super::*;

/// An app in `apps/desktop`, with the root of a workspace and a server beside it.
fn workspace(root: &[(&str, &str)], server: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join(".git")).unwrap();
    let stock = [
        ("apps/desktop/src-tauri/Cargo.toml", CARGO),
        ("apps/desktop/src-tauri/src/lib.rs", LIB),
        ("apps/desktop/src-tauri/build.rs", "fn main() {\n    tauri_build::build()\n}\n"),
        ("apps/desktop/src-tauri/tauri.conf.json", CONFIG),
        ("apps/desktop/package.json", PACKAGE),
    ];
    for (name, text) in stock.iter().chain(root).chain(server) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn plan_of(folder: &TempDir, source: Source) -> Plan {
    let project = Project::find(&folder.path().join("apps/desktop")).unwrap();
    let backend = Backend::in_folder(&folder.path().join("apps/server"), None).unwrap();
    let choices = Choices { name: "backend".to_owned(), source, backend: Some(backend) };
    plan::plan(&project, &choices).unwrap()
}

const SERVER_FILES: [(&str, &str); 2] = [
    ("apps/server/package.json", "{ \"dependencies\": { \"fastify\": \"5\" } }\n"),
    ("apps/server/src/main.ts", "app.listen()\n"),
];

#[test]
fn a_workspace_is_installed_in_its_root_once() {
    const ROOT: (&str, &str) = ("package.json", "{ \"workspaces\": [\"apps/*\"] }\n");
    let installs = |folder: &TempDir, source: Source| {
        let steps = plan_of(folder, source).next.into_iter().filter(|step| step.contains("install"));
        let root = folder.path().to_str().unwrap().to_owned();
        steps.map(|step| step.replace(&root, ".").replace('\\', "/")).collect::<Vec<_>>()
    };
    let npm = workspace(&[ROOT, ("package-lock.json", "{}")], &SERVER_FILES);
    assert_eq!(installs(&npm, Source::Registries), ["npm install   (in .)"]);
    let clone = Source::Folder(npm.path().join("clone"));
    let steps = installs(&npm, clone);
    assert!(
        steps[0].starts_with("npm config set --location project install-links true   (in .):"),
        "{steps:?}"
    );

    let pnpm =
        workspace(&[("pnpm-workspace.yaml", "packages: [apps/*]\n"), ("pnpm-lock.yaml", "")], &SERVER_FILES);
    assert_eq!(installs(&pnpm, Source::Registries), ["pnpm install   (in .)"]);

    // A lock file of its own: not a package of the workspace.
    let apart = workspace(
        &[ROOT, ("package-lock.json", "{}"), ("apps/server/package-lock.json", "{}")],
        &SERVER_FILES,
    );
    assert_eq!(
        installs(&apart, Source::Registries),
        ["npm install   (in .)", "npm install   (in ./apps/server)"]
    );
}

#[test]
fn a_server_with_the_metadata_of_decorators_runs_compiled() {
    let config = "{\n  // Nest\n  \"compilerOptions\": { \"emitDecoratorMetadata\": true, \"outDir\": \"./build\" },\n}\n";
    let server = [
        ("apps/server/package.json", "{ \"dependencies\": { \"@nestjs/core\": \"12\" } }\n"),
        ("apps/server/src/main.ts", "app.listen()\n"),
        ("apps/server/tsconfig.json", config),
    ];
    let folder = workspace(&[], &server);
    let plan = plan_of(&folder, Source::Registries);
    plan.edits.write().unwrap();
    let config = Project::find(&folder.path().join("apps/desktop")).unwrap().config.on(Platform::Linux).value;
    let declared = &config["plugins"]["pillion"]["sidecars"]["backend"];
    let dev = json!({ "command": ["node", "build/main.js"], "cwd": "../server", "watch": ["build/**/*.js"] });
    assert_eq!(declared["dev"], dev);
    // No tool puts the packages of Nest into one file.
    assert_eq!(declared.get("package"), None);
    assert!(!read(&folder, "apps/server/package.json").contains("tsx"));
    let by_hand = |words: &str| plan.by_hand.iter().any(|item| item.what.contains(words));
    assert!(by_hand("runs build/main.js, which tsc writes"), "{:?}", plan.by_hand);
    assert!(by_hand("cannot be one file: declare `package`"), "{:?}", plan.by_hand);
    assert!(
        plan.by_hand.iter().any(|item| item.lines.contains("attach(app.getHttpServer(),")),
        "{:?}",
        plan.by_hand
    );

    // Another server with the option is one file, made from what tsc writes.
    let koa = ("apps/server/package.json", "{ \"dependencies\": { \"koa\": \"3\" } }\n");
    let folder = workspace(&[], &[koa, server[1], server[2]]);
    plan_of(&folder, Source::Registries).edits.write().unwrap();
    let config = Project::find(&folder.path().join("apps/desktop")).unwrap().config.on(Platform::Linux).value;
    let declared = &config["plugins"]["pillion"]["sidecars"]["backend"];
    assert_eq!(declared["package"], json!({ "node": "../server/build/main.js" }));

    // Without the option, tsx runs the source.
    let folder = workspace(&[], &[server[0], server[1], ("apps/server/tsconfig.json", "{}\n")]);
    plan_of(&folder, Source::Registries).edits.write().unwrap();
    assert!(read(&folder, "apps/server/package.json").contains("tsx"));
}

#[test]
fn fastify_gets_its_own_lines() {
    let plan = plan_of(&workspace(&[], &SERVER_FILES), Source::Registries);
    assert!(plan.by_hand.iter().any(|item| item.lines.contains("attach(app.server,")), "{:?}", plan.by_hand);
}

#[test]
fn the_packages_that_the_server_imports_are_watched_as_well() {
    let watched = |root: (&str, &str), server: &[(&str, &str)]| {
        let folder = workspace(&[root], server);
        let backend = Backend::in_folder(&folder.path().join("apps/server"), None);
        let dev = backend.unwrap().dev(&folder.path().join("apps/desktop")).unwrap();
        dev["watch"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let npm = watched(
        ("package.json", "{ \"workspaces\": [\"apps/*\", \"packages/*\"] }\n"),
        &[
            (
                "apps/server/package.json",
                "{ \"dependencies\": { \"fastify\": \"5\", \"@app/shared\": \"*\", \"pillion\": \"file:../../clone\", \
                 \"tools\": \"link:../../packages/tools\", \"gone\": \"file:../gone\" } }\n",
            ),
            ("apps/server/src/main.ts", "app.listen()\n"),
            ("clone/package.json", "{ \"name\": \"pillion\" }\n"),
            (
                "packages/shared/package.json",
                "{ \"name\": \"@app/shared\", \"exports\": { \".\": { \"import\": \"./src/index.ts\" } }, \
                 \"devDependencies\": { \"base\": \"workspace:*\" } }\n",
            ),
            ("packages/tools/package.json", "{ \"name\": \"tools\" }\n"),
            (
                "packages/base/package.json",
                "{ \"name\": \"base\", \"main\": \"dist/index.js\", \"dependencies\": { \"@app/shared\": \"*\" } }\n",
            ),
        ],
    );
    assert_eq!(
        npm,
        [
            "src/**/*.ts",
            "../../packages/base/dist/**/*.js",
            "../../packages/shared/src/**/*.ts",
            "../../packages/tools/**/*.js"
        ]
    );
    let cargo = watched(
        ("README.md", ""),
        &[
            (
                "apps/server/Cargo.toml",
                "[package]\nname = \"server\"\n[dependencies]\naxum = \"0.8\"\nshared = { path = \"../../shared\" }\n",
            ),
            ("shared/Cargo.toml", "[package]\nname = \"shared\"\n"),
        ],
    );
    assert_eq!(cargo, ["src/**/*.rs", "Cargo.toml", "../../shared/src/**/*.rs"]);
}

#[test]
fn the_packages_of_a_workspace_of_cargo_uv_or_go_are_watched_as_well() {
    let watched = |files: &[(&str, &str)]| {
        let folder = workspace(&[("README.md", "")], files);
        let backend = Backend::in_folder(&folder.path().join("apps/server"), None);
        let dev = backend.unwrap().dev(&folder.path().join("apps/desktop")).unwrap();
        dev["watch"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let cargo = watched(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"apps/server\", \"shared\"]\n[workspace.dependencies]\naxum = \"0.8\"\n\
             shared = { path = \"shared\" }\n",
        ),
        (
            "apps/server/Cargo.toml",
            "[package]\nname = \"server\"\n[dependencies]\naxum.workspace = true\nshared = { workspace = true }\n",
        ),
        ("shared/Cargo.toml", "[package]\nname = \"shared\"\n"),
    ]);
    assert_eq!(cargo, ["src/**/*.rs", "Cargo.toml", "../../shared/src/**/*.rs"]);
    let uv = watched(&[
        (
            "pyproject.toml",
            "[tool.uv.workspace]\nmembers = [\"apps/*\", \"packages/*\"]\n[tool.uv.sources]\n\
             my-tools = { workspace = true }\n",
        ),
        (
            "apps/server/pyproject.toml",
            "[project]\nname = \"server\"\n[tool.uv.sources]\nbase = { path = \"../../base\", editable = true }\n\
             gone = { path = \"../gone\" }\nother = { git = \"https://example.org/other\" }\n",
        ),
        ("apps/server/main.py", "app = 1\n"),
        ("packages/tools/pyproject.toml", "[project]\nname = \"My_Tools\"\n"),
        ("base/pyproject.toml", "[project]\nname = \"base\"\n"),
    ]);
    assert_eq!(uv, ["**/*.py", "../../base/**/*.py", "../../packages/tools/**/*.py"]);
    let go = watched(&[
        ("go.work", "go 1.22\n\nuse (\n\t./apps/server\n\t./queue // jobs\n)\n"),
        (
            "apps/server/go.mod",
            "module server\n\nreplace example.org/store => ../../store\n\nreplace (\n\texample.org/a v1.0.0 => \
             example.org/b v1.1.0\n)\n",
        ),
        ("apps/server/main.go", "package main\n"),
        ("store/go.mod", "module example.org/store\n"),
        ("queue/go.mod", "module example.org/queue\n"),
    ]);
    assert_eq!(go, ["**/*.go", "../../queue/**/*.go", "../../store/**/*.go"]);
}

#[test]
fn a_diff_names_files_below_the_repository() {
    let folder = workspace(&[("package.json", "{ \"workspaces\": [\"apps/*\"] }\n")], &SERVER_FILES);
    let project = Project::find(&folder.path().join("apps/desktop")).unwrap();
    let plan = plan_of(&folder, Source::Registries);
    let diffs: String = plan.edits.iter().map(|edit| edit.diff(project.repository())).collect();
    for header in ["+++ b/apps/server/package.json\n", "+++ b/apps/desktop/src-tauri/Cargo.toml\n"] {
        assert!(diffs.contains(header), "{diffs}");
    }
}
