mod backends;
mod capabilities;
mod frameworks;
mod guard;
mod monorepo;
mod present;

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    plan::Plan,
    source::{NODE_SDK, PLUGIN},
    *,
};

const CARGO: &str = "[package]\nname = \"notes\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n# The name must differ from that of the program.\n\
    [lib]\nname = \"notes_lib\"\n\n[build-dependencies]\ntauri-build = { version = \"2\", features = [] }\n\n[dependencies]\n\
    tauri = { version = \"2\", features = [] }\nserde_json = \"1\"\n\n\n# Small programs.\n[profile.release]\nlto = true\n";
const LIB: &str = "pub fn run() {\n    tauri::Builder::default()\n        .plugin(tauri_plugin_opener::init())\n        \
    .run(tauri::generate_context!())\n        .expect(\"error while running tauri application\");\n}\n";
const CAPABILITY: &str = "{\n  \"$schema\": \"../gen/schemas/desktop-schema.json\",\n  \"identifier\": \"default\",\n  \
    \"windows\": [\"main\"],\n  \"permissions\": [\n    \"core:default\",\n    \"opener:default\"\n  ]\n}\n";
const CONFIG: &str = "{\n  \"$schema\": \"https://schema.tauri.app/config/2\",\n  \"productName\": \"notes\",\n  \"build\": {\n    \
    \"beforeDevCommand\": \"npm run dev\",\n    \"frontendDist\": \"../dist\"\n  },\n  \"app\": {\n    \"windows\": [\n      \
    { \"title\": \"notes\" }\n    ],\n    \"security\": {\n      \"csp\": null\n    }\n  },\n  \"bundle\": {\n    \"active\": \
    true\n  }\n}\n";
const PACKAGE: &str = "{\n  \"name\": \"notes\",\n  \"dependencies\": {\n    \"@tauri-apps/api\": \"^2\",\n    \"vite\": \"^8\"\n  }\n}\n";
const NODE_BACKEND: [(&str, &str); 2] = [
    (
        "backend/package.json",
        "{\n  \"name\": \"backend\",\n  \"type\": \"module\",\n  \"dependencies\": {\n    \"hono\": \"^4\"\n  }\n}\n",
    ),
    ("backend/src/index.ts", "const app = new Hono();\n"),
];

/// An app as `create-tauri-app` makes it, with these files in addition, or instead if they have the same name. An empty text
/// removes a file.
fn app(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let stock = [
        ("src-tauri/Cargo.toml", CARGO),
        ("src-tauri/src/lib.rs", LIB),
        ("src-tauri/build.rs", "fn main() {\n    tauri_build::build()\n}\n"),
        ("src-tauri/src/main.rs", "fn main() {\n    notes_lib::run()\n}\n"),
        ("src-tauri/capabilities/default.json", CAPABILITY),
        ("src-tauri/tauri.conf.json", CONFIG),
        ("src-tauri/.gitignore", "/target/\n"),
        ("package.json", PACKAGE),
    ];
    for (name, text) in stock.iter().chain(files) {
        let path = folder.path().join(name);
        if text.is_empty() {
            fs::remove_file(path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
    folder
}

fn planned(folder: &Path, backend: Option<&str>) -> Plan {
    let project = Project::find(folder).unwrap();
    let backend = backend.map(|name| Backend::in_folder(&folder.join(name), None).unwrap());
    let choices = Choices { name: "backend".to_owned(), source: Source::Registries, backend };
    plan::plan(&project, &choices).unwrap()
}

/// Writes the changes, and checks that a second run changes nothing.
fn apply(folder: &Path, backend: Option<&str>) -> Plan {
    let plan = planned(folder, backend);
    plan.edits.write().unwrap();
    let again: Vec<_> = planned(folder, backend).edits.iter().map(|edit| edit.diff(folder)).collect();
    assert!(again.is_empty(), "a second run changes something:\n{}", again.join("\n"));
    plan
}

fn read(folder: &TempDir, name: &str) -> String {
    fs::read_to_string(folder.path().join(name)).unwrap()
}

fn config(folder: &TempDir) -> Value {
    Project::find(folder.path()).unwrap().config.on(Platform::Linux).value
}

/// What a package.json asks for, for packages of the registry.
fn npm_requirement() -> String {
    Source::Registries.npm(NODE_SDK, Path::new("")).unwrap()
}

/// The lines of the diff of a file that add or remove something.
fn changed_lines(before: &str, after: &str) -> Vec<String> {
    let diff = similar::TextDiff::from_lines(before, after);
    let changes = diff.iter_all_changes().filter(|change| change.tag() != similar::ChangeTag::Equal);
    changes.map(|change| format!("{}{}", change.tag(), change.value())).collect()
}

#[test]
fn a_stock_app_with_a_node_backend_gets_everything() {
    let folder = app(&NODE_BACKEND);
    let plan = apply(folder.path(), Some("backend"));
    assert_eq!(
        changed_lines(CARGO, &read(&folder, "src-tauri/Cargo.toml")),
        ["pillion-build", "tauri-plugin-pillion"]
            .map(|name| format!("+{name} = {}\n", Source::Registries.cargo(PLUGIN, folder.path())))
    );
    let line = "{\n    pillion_build::allow_missing_sidecars();\n";
    assert!(read(&folder, "src-tauri/build.rs").contains(line));
    assert_eq!(
        changed_lines(LIB, &read(&folder, "src-tauri/src/lib.rs")),
        [
            "+    tauri_plugin_pillion::guard::run_if_asked();\n",
            "+        .plugin(tauri_plugin_pillion::init())\n"
        ]
    );
    assert_eq!(
        read(&folder, "src-tauri/capabilities/default.json"),
        CAPABILITY.replace(
            "\"opener:default\"\n",
            "\"opener:default\",\n    \"pillion:default\",\n    \"pillion:allow-connect\"\n"
        )
    );
    let config = config(&folder);
    assert_eq!(config["bundle"]["externalBin"], json!(["binaries/notes-backend"]));
    assert_eq!(
        config["plugins"]["pillion"]["sidecars"]["backend"],
        json!({
            "program": "notes-backend",
            "dev": { "command": ["node", "--import", "tsx", "src/index.ts"], "cwd": "backend", "watch": ["src/**/*.ts"] },
            "package": { "node": "backend/src/index.ts" },
        })
    );
    assert_eq!(config["$schema"], "../node_modules/tauri-plugin-pillion-api/schemas/tauri.conf.schema.json");
    assert_eq!(
        changed_lines(PACKAGE, &read(&folder, "package.json")),
        [format!("+    \"tauri-plugin-pillion-api\": \"{}\",\n", npm_requirement())],
        "in the order of names"
    );
    let backend: Value = serde_json::from_str(&read(&folder, "backend/package.json")).unwrap();
    assert_eq!(backend["dependencies"]["pillion"], npm_requirement());
    assert_eq!(backend["devDependencies"]["tsx"], "^4");
    assert!(read(&folder, "src-tauri/.gitignore").starts_with("/target/\n\n# Programs"));
    assert!(read(&folder, "src-tauri/.taurignore").ends_with("\nbinaries/\n"));
    let by_hand: Vec<_> = plan.by_hand.iter().map(|item| item.lines.as_str()).collect();
    assert!(by_hand.iter().any(|lines| lines.contains("sidecar(\"backend\")")), "{by_hand:?}");
    assert!(by_hand.iter().any(|lines| lines.contains("await serve(app.fetch)")), "{by_hand:?}");
    assert_eq!(by_hand.len(), 2);
}

#[test]
fn comments_order_and_indentation_of_json5_stay() {
    let text = "// The app.\n{\n\t\"bundle\": {\n\t\t\"externalBin\": [\n\t\t\t\"binaries/tool\", // a tool\n\t\t],\n\t\t/* icons */ \"icon\": [],\n\t},\n\t\
        'app': { security: { csp: { 'default-src': \"'self'\" } } }, // last\n}\n";
    let folder = app(&[("src-tauri/tauri.conf.json", text)]);
    apply(folder.path(), None);
    let edited = read(&folder, "src-tauri/tauri.conf.json");
    let removed: Vec<_> =
        changed_lines(text, &edited).into_iter().filter(|line| line.starts_with('-')).collect();
    assert_eq!(removed, ["-\t'app': { security: { csp: { 'default-src': \"'self'\" } } }, // last\n"]);
    assert!(
        edited.contains("\t\t\t\"binaries/tool\", // a tool\n\t\t\t\"binaries/notes-backend\",\n"),
        "{edited}"
    );
    assert!(edited.contains("/* icons */"), "{edited}");
    assert!(edited.contains("// last"), "{edited}");
    let connect = config(&folder)["app"]["security"]["csp"]["connect-src"].clone();
    assert_eq!(connect, "'self' ipc: http://ipc.localhost http://127.0.0.1:*");
}

#[test]
fn tauri_toml_is_edited() {
    let text = "# The app.\nproduct-name = \"notes\"\n\n[app.security]\ncsp = \"default-src 'self'; connect-src ipc:\" # strict\n\n\
        [bundle]\nactive = true\n";
    let folder = app(&[("src-tauri/tauri.conf.json", ""), ("src-tauri/Tauri.toml", text)]);
    apply(folder.path(), None);
    let edited = read(&folder, "src-tauri/Tauri.toml");
    assert!(edited.starts_with("# The app.\nproduct-name = \"notes\"\n"), "{edited}");
    assert!(
        edited.contains("[bundle]\nactive = true\nexternal-bin = [\"binaries/notes-backend\"]\n"),
        "{edited}"
    );
    assert!(edited.contains("[plugins.pillion.sidecars.backend]\nprogram = \"notes-backend\"\n"), "{edited}");
    assert!(edited.contains("\" # strict\n"), "{edited}");
    let csp = config(&folder)["app"]["security"]["csp"].clone();
    assert_eq!(csp, "default-src 'self'; connect-src ipc: http://ipc.localhost http://127.0.0.1:*");
}

#[test]
fn carriage_returns_and_missing_last_newlines_stay() {
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let files = [
        ("src-tauri/Cargo.toml", crlf(CARGO)),
        ("src-tauri/src/lib.rs", crlf(LIB)),
        ("src-tauri/tauri.conf.json", crlf(CONFIG)),
        ("src-tauri/capabilities/default.json", crlf(CAPABILITY)),
        ("package.json", PACKAGE.trim_end().to_owned()),
        ("src-tauri/.gitignore", "/target/".to_owned()),
    ];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let folder = app(&files);
    apply(folder.path(), None);
    for (name, before) in &files[..4] {
        let after = read(&folder, name);
        assert_ne!(after, *before, "{name}");
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{name}: {after:?}");
        assert!(
            changed_lines(before, &after).iter().filter(|line| line.starts_with('-')).count() <= 3,
            "{name}"
        );
    }
    assert!(!read(&folder, "package.json").ends_with('\n'));
    assert!(read(&folder, "src-tauri/.gitignore").starts_with("/target/\n"));
}

#[test]
fn four_spaces_stay_four_spaces() {
    let wide = |text: &str| text.replace("  ", "    ");
    let config = wide(CONFIG);
    let folder = app(&[("src-tauri/tauri.conf.json", &config), ("package.json", &wide(PACKAGE))]);
    apply(folder.path(), None);
    let edited = read(&folder, "src-tauri/tauri.conf.json");
    assert!(
        edited.contains("\n    \"plugins\": {\n        \"pillion\": {\n            \"sidecars\": {\n"),
        "{edited}"
    );
    assert!(read(&folder, "package.json").contains("\n        \"tauri-plugin-pillion-api\": "));
}

#[test]
fn the_list_of_a_platform_gets_the_program_too() {
    let folder = app(&[(
        "src-tauri/tauri.linux.conf.json",
        "{ \"bundle\": { \"externalBin\": [\"binaries/tool\"] } }\n",
    )]);
    apply(folder.path(), None);
    assert_eq!(
        read(&folder, "src-tauri/tauri.linux.conf.json"),
        "{ \"bundle\": { \"externalBin\": [\"binaries/tool\", \"binaries/notes-backend\"] } }\n"
    );
}

#[test]
fn a_declared_sidecar_stays_as_it_is() {
    let declared = "{ \"bundle\": { \"externalBin\": [\"binaries/api\"] }, \"plugins\": { \"pillion\": { \"sidecars\": { \"api\": { \"transport\": \
        \"local\" } } } }, \"app\": { \"security\": { \"csp\": \"default-src 'self'\" } } }\n";
    let folder = app(&[("src-tauri/tauri.conf.json", declared), ("package.json", "")]);
    let project = Project::find(folder.path()).unwrap();
    let choices = Choices { name: "api".to_owned(), source: Source::Registries, backend: None };
    let plan = plan::plan(&project, &choices).unwrap();
    plan.edits.write().unwrap();
    assert_eq!(read(&folder, "src-tauri/tauri.conf.json"), declared);
    assert!(
        read(&folder, "src-tauri/capabilities/default.json").contains("pillion:allow-fetch"),
        "it has no port"
    );
}

#[test]
fn an_unknown_builder_is_left_to_the_developer_and_the_rest_is_done() {
    let folder = app(&[("src-tauri/src/lib.rs", "pub fn run() {\n    builder().run(context());\n}\n")]);
    let plan = apply(folder.path(), None);
    let item = plan.by_hand.iter().find(|item| item.lines.contains(builder::LINE)).unwrap();
    assert!(item.path.ends_with("src/lib.rs") && item.what.contains("add this line"), "{item:?}");
    assert!(read(&folder, "src-tauri/Cargo.toml").contains("tauri-plugin-pillion"));
}

#[test]
fn a_build_script_elsewhere_is_edited_and_none_is_made() {
    let script = "fn main() {\n    tauri_build::build()\n}\n";
    let cargo = CARGO.replace("edition", "build = \"build/main.rs\"\nedition");
    let other = [("src-tauri/Cargo.toml", cargo.as_str()), ("src-tauri/build.rs", "")];
    let folder = app(&[&other[..], &[("src-tauri/build/main.rs", script)]].concat());
    apply(folder.path(), None);
    assert!(read(&folder, "src-tauri/build/main.rs").contains(build_script::LINE));
    assert!(!folder.path().join("src-tauri/build.rs").exists());

    // Without the file, and without a build script, the developer gets the line.
    let none = CARGO.replace("edition", "build = false\nedition");
    for cargo in [CARGO, &cargo, &none] {
        let folder = app(&[("src-tauri/Cargo.toml", cargo), ("src-tauri/build.rs", "")]);
        let plan = apply(folder.path(), None);
        assert!(
            plan.by_hand.iter().any(|item| item.lines.contains(build_script::LINE)),
            "{:?}",
            plan.by_hand
        );
        assert!(!folder.path().join("src-tauri/build.rs").exists());
        assert!(!folder.path().join("src-tauri/build/main.rs").exists());
    }
}

#[test]
fn a_pattern_that_is_anchored_to_another_folder_does_not_ignore_the_programs() {
    for (pattern, ignored) in [
        ("/binaries/", false),
        ("binaries/*", false),
        ("other/binaries", false),
        ("binaries/", true),
        ("**/binaries", true),
        ("/src-tauri/binaries/", true),
        ("src-tauri/binaries/*", true),
    ] {
        let folder = app(&[(".gitignore", &format!("node_modules\n{pattern}\n"))]);
        apply(folder.path(), None);
        assert_eq!(!read(&folder, "src-tauri/.gitignore").contains("binaries"), ignored, "{pattern}");
    }
}

#[test]
fn a_page_without_a_bundler_stays_so_if_pillion_builds_the_sidecar() {
    let global = CONFIG.replace("\"app\": {", "\"app\": {\n    \"withGlobalTauri\": true,");
    for (command, bundler) in [
        ("pillion package", false),
        ("./bin/pillion package --verbose && pillion package", false),
        ("npm run build && pillion package", true),
        ("npx vite build", true),
    ] {
        let build = format!("\"build\": {{\n    \"beforeBuildCommand\": {command:?},");
        let folder = app(&[("src-tauri/tauri.conf.json", &global.replace("\"build\": {", &build))]);
        apply(folder.path(), None);
        assert_eq!(read(&folder, "package.json") != PACKAGE, bundler, "{command}");
        let schema = config(&folder)["$schema"].clone();
        assert_eq!(schema != "https://schema.tauri.app/config/2", bundler, "{command}");
    }
}

#[test]
fn the_schema_is_that_of_the_workspace_and_not_of_a_folder_outside() {
    let schema = |git: &str, workspace: &str| {
        let outer = tempfile::tempdir().unwrap();
        let stock = app(&[]);
        let folder = outer.path().join("repository/app");
        fs::create_dir_all(folder.parent().unwrap()).unwrap();
        fs::rename(stock.path(), &folder).unwrap();
        fs::create_dir_all(outer.path().join("node_modules/@tauri-apps/cli")).unwrap();
        fs::create_dir_all(outer.path().join("repository/node_modules/@tauri-apps/cli")).unwrap();
        fs::write(outer.path().join("repository/package.json"), workspace).unwrap();
        if !git.is_empty() {
            fs::create_dir(outer.path().join(git)).unwrap();
        }
        apply(&folder, None);
        let config = Project::find(&folder).unwrap().config.on(Platform::Linux).value;
        config["$schema"]
            .as_str()
            .unwrap()
            .replace("tauri-plugin-pillion-api/schemas/tauri.conf.schema.json", "")
    };
    assert_eq!(schema("repository/.git", "{}"), "../../node_modules/");
    assert_eq!(schema(".git", "{ \"workspaces\": [\"app\"] }"), "../../node_modules/");
    assert_eq!(schema("", "{}"), "../node_modules/");
}

#[test]
fn a_builder_in_main_rs_is_found() {
    let main = LIB.replace("pub fn run()", "fn main()");
    let folder = app(&[("src-tauri/src/lib.rs", ""), ("src-tauri/src/main.rs", &main)]);
    apply(folder.path(), None);
    assert!(read(&folder, "src-tauri/src/main.rs").contains(builder::LINE));
}

#[test]
fn a_dependency_of_the_workspace_is_inherited() {
    let workspace = "[workspace]\nmembers = [\"src-tauri\"]\n\n[workspace.dependencies]\ntauri-plugin-pillion = \"0.1\"\n";
    let folder = app(&[("Cargo.toml", workspace)]);
    apply(folder.path(), None);
    assert!(read(&folder, "src-tauri/Cargo.toml").contains("tauri-plugin-pillion = { workspace = true }\n"));
}

#[test]
fn a_workspace_that_does_not_list_the_app_is_named() {
    for (workspace, left) in [
        ("[workspace]\nmembers = [\"server\"]\n", true),
        ("[workspace]\nmembers = [\"*\"]\n", true),
        ("[workspace]\nmembers = [\"./apps/*/src-tauri/\"]\n", false),
        ("[workspace]\nexclude = [\"apps\"]\n", false),
    ] {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("Cargo.toml"), workspace).unwrap();
        fs::create_dir(outer.path().join("apps")).unwrap();
        fs::rename(app(&[]).keep(), outer.path().join("apps/notes")).unwrap();
        let plan = apply(&outer.path().join("apps/notes"), None);
        let advice: Vec<_> = plan.by_hand.iter().filter(|it| it.path.ends_with("Cargo.toml")).collect();
        assert_eq!(advice.len(), usize::from(left), "{workspace}: {advice:?}");
        for plan::ByHand { lines, .. } in advice {
            assert_eq!(lines, "[workspace]\nexclude = [\"apps/notes/src-tauri\"]\n");
        }
    }
}

#[test]
fn a_wrong_file_stops_the_run_with_its_position() {
    let folder = app(&[("src-tauri/capabilities/default.json", "{\n  \"identifier\": 1\n}\n")]);
    let project = Project::find(folder.path()).unwrap();
    let choices = Choices { name: "backend".to_owned(), source: Source::Registries, backend: None };
    let error = plan::plan(&project, &choices).unwrap_err();
    assert!(error.contains("default.json:2:17: a capability needs the string `identifier`"), "{error}");
}
