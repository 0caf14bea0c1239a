mod capabilities;
mod front_end;

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::{resources::Resource, *};

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

const CARGO: (&str, &str) = (
    "src-tauri/Cargo.toml",
    "[package]\nname = \"app\"\nversion = \"0.1.0\"\n\n[dependencies]\ntauri = \"2\"\n",
);

fn app(config: &str) -> TempDir {
    folder(&[CARGO, ("src-tauri/tauri.conf.json", config)])
}

fn find(folder: &TempDir, from: &str) -> Result<Project, ProjectError> {
    Project::find(&folder.path().join(from))
}

fn linux(project: &Project) -> MergedConfig<'_> {
    project.config.on(Platform::Linux)
}

#[test]
fn finds_the_app_from_every_folder_of_it() {
    let files = [
        CARGO,
        ("src-tauri/tauri.conf.json", "{}"),
        ("src-tauri/src/lib.rs", ""),
        ("src/lib/api.ts", ""),
        ("package.json", "{}"),
    ];
    let folder = folder(&files);
    for from in ["", "src-tauri", "src-tauri/src", "src", "src/lib"] {
        let project = find(&folder, from).unwrap();
        assert_eq!(project.tauri, folder.path().join("src-tauri"), "from {from:?}");
        assert_eq!(project.root, folder.path());
        assert_eq!(project.manifest.package_name(), Some("app"));
    }
}

#[test]
fn finds_the_only_app_of_a_repository_from_another_part_of_it() {
    let folder = folder(&[
        (".git/HEAD", ""),
        ("apps/desktop/src-tauri/Cargo.toml", "[package]\nname = \"app\"\n"),
        ("apps/desktop/src-tauri/tauri.conf.json", "{}"),
        ("node_modules/example/src-tauri/tauri.conf.json", "{}"),
        ("backend/src/main.rs", ""),
    ]);
    for from in ["", "backend/src", "apps"] {
        let project = find(&folder, from).unwrap();
        assert_eq!(project.root, folder.path().join("apps/desktop"), "from {from:?}");
    }
}

#[test]
fn several_apps_are_an_error_that_names_them() {
    let folder = folder(&[
        (".git/HEAD", ""),
        ("apps/one/src-tauri/tauri.conf.json", "{}"),
        ("apps/two/src-tauri/Tauri.toml", ""),
    ]);
    let error = find(&folder, "").unwrap_err().to_string();
    assert!(error.contains("found 2 Tauri apps"), "{error}");
    assert!(error.contains("one") && error.contains("two"), "{error}");
}

#[test]
fn no_app_is_an_error_that_says_what_an_app_has() {
    let folder = folder(&[(".git/HEAD", ""), ("src/main.rs", "")]);
    let error = find(&folder, "src").unwrap_err().to_string();
    assert!(error.contains("src-tauri/tauri.conf.json"), "{error}");
    let error = find(&folder, "gone").unwrap_err().to_string();
    assert!(error.contains("does not exist"), "{error}");
}

#[test]
fn reads_json_json5_and_toml() {
    let declaration = json!({ "sidecars": { "backend": { "program": "app-backend" } } });
    for (name, text) in [
        (
            "src-tauri/tauri.conf.json",
            r#"{ "bundle": { "externalBin": ["binaries/app-backend"] },
                "plugins": { "pillion": { "sidecars": { "backend": { "program": "app-backend" } } } } }"#,
        ),
        (
            "src-tauri/tauri.conf.json5",
            "{ // a comment\n bundle: { externalBin: ['binaries/app-backend'], },\n \
             plugins: { pillion: { sidecars: { backend: { program: 'app-backend' } } } } }",
        ),
        (
            "src-tauri/Tauri.toml",
            "[bundle]\nexternal-bin = [\"binaries/app-backend\"]\n\n\
             [plugins.pillion.sidecars.backend]\nprogram = \"app-backend\"\n",
        ),
    ] {
        let folder = folder(&[CARGO, (name, text)]);
        let project = find(&folder, "").unwrap();
        let config = linux(&project);
        assert_eq!(config.external_bin().unwrap(), ["binaries/app-backend"], "{name}");
        assert_eq!(config.get(&["plugins", "pillion"]), Some(&declaration), "{name}");
        let sidecars = config.sidecars().unwrap().unwrap();
        let entry = Some("binaries/app-backend".to_owned());
        let program = SidecarProgram::External { file: "app-backend".to_owned(), entry };
        assert_eq!(sidecars[0].program, program, "{name}");
    }
}

#[test]
fn the_file_of_a_platform_is_merged_by_json_merge_patch() {
    let folder = folder(&[
        CARGO,
        (
            "src-tauri/tauri.conf.json",
            r#"{ "bundle": { "externalBin": ["binaries/backend"], "category": "Utility" },
                "plugins": { "pillion": { "sidecars": { "backend": { "handover": true } } } } }"#,
        ),
        (
            "src-tauri/tauri.linux.conf.json",
            r#"{ "bundle": { "externalBin": ["binaries/app-backend"], "category": null },
                "plugins": { "pillion": { "sidecars": { "backend": { "program": "app-backend" } } } } }"#,
        ),
    ]);
    let project = find(&folder, "").unwrap();
    let config = linux(&project);
    assert_eq!(config.external_bin().unwrap(), ["binaries/app-backend"], "a list is replaced");
    assert_eq!(config.get(&["bundle", "category"]), None, "null removes");
    let sidecar = &config.sidecars().unwrap().unwrap()[0];
    assert_eq!(sidecar.fields["handover"], true, "objects are merged");
    assert_eq!(sidecar.text("program"), Some("app-backend"));
    assert!(config.file_of(&["bundle", "externalBin"]).path.ends_with("tauri.linux.conf.json"));
    assert!(config.file_of(&["app"]).path.ends_with("tauri.conf.json"));
    let elsewhere = project.config.on(Platform::MacOs);
    assert_eq!(elsewhere.external_bin().unwrap(), ["binaries/backend"]);
}

#[test]
fn an_error_names_the_file_and_the_position() {
    let unparsable = "{\n  \"bundle\": {}\n  \"app\": {}\n}";
    let wrong_type = "{\n  \"bundle\": { \"externalBin\": [\"a\", 7] }\n}";
    let error = find(&app(unparsable), "").unwrap_err();
    assert_eq!(error.position, Some(Position { line: 2, column: 15 }), "{error}");
    assert!(error.to_string().contains("tauri.conf.json:2:15: not valid JSON: Expected comma"), "{error}");
    let folder = app(wrong_type);
    let error = linux(&find(&folder, "").unwrap()).external_bin().unwrap_err();
    assert!(
        error.to_string().ends_with("tauri.conf.json:2:36: bundle.externalBin[1] must be a string"),
        "{error}"
    );

    let folder = self::folder(&[CARGO, ("src-tauri/Tauri.toml", "[bundle]\nactive = maybe\n")]);
    let error = find(&folder, "").unwrap_err();
    assert!(error.to_string().contains("Tauri.toml:2:10: not valid TOML"), "{error}");
    let toml = "[plugins.pillion]\nother = 1\n\n[bundle]\nexternal-bin = \"a\"\n";
    let folder = self::folder(&[CARGO, ("src-tauri/Tauri.toml", toml)]);
    let project = find(&folder, "").unwrap();
    let error = linux(&project).external_bin().unwrap_err();
    assert!(error.to_string().contains("Tauri.toml:5:16: bundle.externalBin must be a list"), "{error}");
    let error = linux(&project).sidecars().unwrap_err();
    assert!(error.to_string().contains("Tauri.toml:1:1: plugins.pillion needs the object"), "{error}");
}

#[test]
fn a_file_that_is_not_utf_8_is_an_error_with_its_line() {
    let folder = app("");
    fs::write(folder.path().join("src-tauri/tauri.conf.json"), b"{\n \"a\": \"\xff\" }").unwrap();
    let error = find(&folder, "").unwrap_err();
    assert_eq!(error.position, Some(Position { line: 2, column: 8 }), "{error}");
    assert!(error.message.contains("not UTF-8"), "{error}");
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    let folder = app("\u{feff}{ \"productName\": \"App\" }");
    assert_eq!(linux(&find(&folder, "").unwrap()).get(&["productName"]), Some(&json!("App")));
}

#[test]
fn resources_are_a_list_or_a_map() {
    let project = |resources: &str| app(&format!(r#"{{ "bundle": {{ "resources": {resources} }} }}"#));
    let entry = |source: &str, target: Option<&str>| Resource {
        source: source.to_owned(),
        target: target.map(str::to_owned),
    };
    for (resources, expected) in [
        (r#"["server/**/*"]"#, vec![entry("server/**/*", None)]),
        (r#"{ "dist/server": "server" }"#, vec![entry("dist/server", Some("server"))]),
        ("null", vec![]),
    ] {
        let folder = project(resources);
        assert_eq!(linux(&find(&folder, "").unwrap()).resources().unwrap(), expected);
    }
    let folder = project(r#"{ "a": 1 }"#);
    assert!(linux(&find(&folder, "").unwrap()).resources().unwrap_err().position.is_some());
}

#[test]
fn a_program_is_external_a_resource_or_of_the_system() {
    let folder =
        app(r#"{ "bundle": { "externalBin": ["../bin/db"] }, "plugins": { "pillion": { "sidecars": {
            "api": { "resource": "server/api", "private": false, "transport": "local" },
            "cache": { "command": "redis-server" }, "db": {}, "lost": {} } } } }"#);
    let project = find(&folder, "").unwrap();
    let sidecars = linux(&project).sidecars().unwrap().unwrap();
    let external = |file: &str, entry: Option<&str>| SidecarProgram::External {
        file: file.to_owned(),
        entry: entry.map(str::to_owned),
    };
    let programs: Vec<_> = sidecars.iter().map(|sidecar| sidecar.program.clone()).collect();
    assert_eq!(
        programs,
        [
            SidecarProgram::Resource("server/api".to_owned()),
            SidecarProgram::System("redis-server".to_owned()),
            external("db", Some("../bin/db")),
            external("lost", None),
        ]
    );
    assert!(!sidecars[0].private() && sidecars[0].local());
    assert!(sidecars[2].private() && !sidecars[2].local());
}

#[test]
fn a_dependency_is_found_in_every_form() {
    let manifest = "[package]\nname = \"app\"\n\n[dependencies]\na = \"1\"\n\
        b = { path = \"../b\", features = [\"x\"] }\nc.workspace = true\nrenamed = { package = \"d\", git = \"https://example.org/d\" }\n\n\
        [target.'cfg(not(mobile))'.dependencies]\ne = \"2\"\n";
    let folder = folder(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"src-tauri\"]\n\n\
            [workspace.dependencies]\nc = { version = \"4\" }\n",
        ),
        ("src-tauri/Cargo.toml", manifest),
        ("src-tauri/tauri.conf.json", "{}"),
    ]);
    let manifest = find(&folder, "").unwrap().manifest;
    let version = |name: &str| manifest.dependency(name).and_then(|found| found.version);
    assert_eq!(version("a").as_deref(), Some("1"));
    let b = manifest.dependency("b").unwrap();
    assert_eq!((b.path.as_deref(), b.features.as_slice()), (Some("../b"), &["x".to_owned()][..]));
    let c = manifest.dependency("c").unwrap();
    assert!(c.inherited);
    assert_eq!(c.version.as_deref(), Some("4"));
    assert_eq!(manifest.dependency("d").unwrap().git.as_deref(), Some("https://example.org/d"));
    assert_eq!(version("e").as_deref(), Some("2"));
    assert_eq!(manifest.dependency("renamed"), None);
}

#[test]
fn a_workspace_that_excludes_the_app_is_not_its_workspace() {
    let folder = folder(&[
        CARGO,
        ("src-tauri/tauri.conf.json", "{}"),
        ("Cargo.toml", "[workspace]\nexclude = [\"src-tauri\"]\n"),
    ]);
    assert!(find(&folder, "").unwrap().manifest.workspace.is_none());
    fs::write(folder.path().join("Cargo.toml"), "[workspace]\n").unwrap();
    assert!(find(&folder, "").unwrap().manifest.workspace.is_some());
}

#[test]
fn a_triple_gives_system_processor_and_file_name() {
    for (text, platform, arch, file) in [
        ("x86_64-unknown-linux-gnu", Some(Platform::Linux), "x86_64", "b/db-x86_64-unknown-linux-gnu"),
        ("aarch64-apple-darwin", Some(Platform::MacOs), "aarch64", "b/db-aarch64-apple-darwin"),
        ("universal-apple-darwin", Some(Platform::MacOs), "universal", "b/db-universal-apple-darwin"),
        ("x86_64-pc-windows-msvc", Some(Platform::Windows), "x86_64", "b/db-x86_64-pc-windows-msvc.exe"),
        ("aarch64-linux-android", None, "aarch64", "b/db-aarch64-linux-android"),
    ] {
        let triple: TargetTriple = text.parse().unwrap();
        assert_eq!((triple.platform(), triple.arch()), (platform, arch), "{text}");
        assert_eq!(MergedConfig::external_file("b/db", &triple), file);
    }
    let universal: TargetTriple = "universal-apple-darwin".parse().unwrap();
    let needed: Vec<_> = universal.needed().iter().map(ToString::to_string).collect();
    assert_eq!(needed, ["aarch64-apple-darwin", "x86_64-apple-darwin", "universal-apple-darwin"]);
    for wrong in ["", "linux", "x86_64--linux", "x86_64-unknown-linux gnu", "../x-y-z"] {
        assert!(wrong.parse::<TargetTriple>().unwrap_err().contains("x86_64-unknown-linux-gnu"), "{wrong:?}");
    }
}

#[test]
fn the_host_is_a_triple_of_this_system() {
    let host = TargetTriple::host().unwrap();
    assert_eq!(host.platform(), Some(Platform::host()));
    assert_eq!(host.executable_suffix(), std::env::consts::EXE_SUFFIX);
    assert_eq!(host.needed(), std::slice::from_ref(&host));
}
